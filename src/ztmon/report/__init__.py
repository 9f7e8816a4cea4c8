"""What a replay found, for a person and for a program: the same facts.

    facts   what there is to say
    words   numbers, times and spans as people write them
    text    the facts as lines of 80 columns
    data    the facts as JSON
"""
