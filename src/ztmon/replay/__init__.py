"""Yesterday's logs through today's engine: who would have been stopped, when, and why.

    source     bytes of a file, a gzip file or standard input, a chunk at a time
    formats    which format a source is in
    logs       access logs to events          (ztcore.accesslog)
    jsonlines  JSON lines to events
    ahead      reading in a thread, while the engine works
    order      several sources in the order of time
    pseudonyms names for clients
    watch      changes of level as they happen: stories of partners, the file of transitions
    refused    how many calls would have been refused
    run        all of it, and the facts for ztmon.report
"""
