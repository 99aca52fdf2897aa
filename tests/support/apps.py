# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small apps that behave well or badly, to be run under a real PM2."""

from __future__ import annotations

from pathlib import Path

SCRIPTS = {
    # no runtime to load: starts and ends at once
    "quiet.sh": '#!/usr/bin/env bash\necho "$0 up"\nexec sleep 1000\n',
    "quiet2.sh": '#!/usr/bin/env bash\necho "$0 up"\nexec sleep 1000\n',
    "quiet.js": (
        "console.log('up', JSON.stringify(process.argv.slice(2)), JSON.stringify(process.execArgv));\n"
        "setInterval(() => {}, 1000);\n"
    ),
    "server.js": (
        "const http = require('http');\n"
        "const answer = (q, s) => s.end(process.pid + ' ' + (process.env.GREETING || ''));\n"
        "http.createServer(answer).listen(process.env.PORT, '127.0.0.1');\n"
    ),
    "boot_crash.js": "throw new Error('boom at boot');\n",
    "late_crash.js": "setInterval(() => {}, 1000); setTimeout(() => { throw new Error('boom late'); }, 700);\n",
    # in fork mode the channel to PM2 would keep a process alive that only comes to its end
    "exit_0.js": "console.log('worked'); setTimeout(() => process.exit(0), 50);\n",
    "exit_3.js": "console.log('worked badly'); setTimeout(() => process.exit(3), 50);\n",
    "no_module.js": "require('no-such-module');\n",
    "ready.js": "setTimeout(() => process.send('ready'), 200); setInterval(() => {}, 1000);\n",
    "loop.py": "import time\nprint('python up', flush=True)\nwhile True:\n    time.sleep(1)\n",
    "leak.js": (
        "console.error('cannot log in with ' + process.env.DB_PASSWORD);\nsetTimeout(() => process.exit(1), 50);\n"
    ),
}


def write_scripts(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in SCRIPTS.items():
        (directory / name).write_text(text, encoding="utf-8")
        (directory / name).chmod(0o755)
    return directory
