"""What is remembered beyond the table: partners, what happened, what people did.

    base.py      what a store can do
    packing.py   how a value is written: versioned, with a checksum
    sqlite.py    one host: a file
    redis.py     many hosts: a Redis, Sentinel or Cluster
    keeper.py    the thread that writes, off the request path
    sharing.py   the thread that exchanges contributions and levels with other hosts
"""
