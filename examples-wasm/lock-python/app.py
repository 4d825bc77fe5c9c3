"""The exports of the world `service`, around the locks of `locks.py`."""

import oarlock
from locks import Locks

Machine, Queries, Timers, About, Layout = oarlock.exports(Locks(), name="lock", version=1, layout="lock-python:1")
