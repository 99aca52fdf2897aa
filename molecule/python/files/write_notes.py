"""Write the SQLite file that Datasette serves. usage: write_notes.py FILE VERSION"""

import sqlite3
import sys


def main(path: str, version: str) -> None:
    database = sqlite3.connect(path)
    with database:
        database.execute("create table version (name text)")
        database.execute("insert into version values (?)", [version])
    database.close()


# Ansible looks into every file here whether it is a plugin
if __name__ == "__main__":
    main(*sys.argv[1:])
