"""
How fast twistginx is, beside the servers that people would use instead.

::

    make bench                                       # everything: half an hour
    python bench/run.py --jobs static-1k,proxy-small --peers twistginx,haproxy

Each server gets the same job, on loopback, on a core of its own; load and upstream have the other.  Its answers are
compared with what they must be before it is timed.  The servers are loaded in turns, so that what else the machine does
hits all alike, and compared with nginx within each round.  The first figure is the CPU time of one request in all
processes of the server, because it can be measured on a noisy machine.

C{command}
    The command line, and what it prints and writes.
C{jobs}
    What is measured, and with which load; C{load} holds the loaders, each a program of its own.
C{peers}
    The servers and their configurations; C{servers} holds those that are written in Python.
C{rounds}
    Starts, verifies, and measures in turns.
C{verify}, C{wrk}, C{processes}, C{material}, C{install}, C{report}
    The parts: answers, wrk, /proc, files and certificates, what is installed, the table.
"""
