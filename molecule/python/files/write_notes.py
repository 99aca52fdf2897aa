"""Write the SQLite file that Datasette serves. usage: write_notes.py FILE VERSION"""

import sqlite3
import sys

with sqlite3.connect(sys.argv[1]) as database:
    database.execute("create table version (name text)")
    database.execute("insert into version values (?)", [sys.argv[2]])
database.close()
