# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mail
short_description: Send a mail
version_added: 0.1.0
description:
  - Hands one mail to an SMTP server. The role P(zerodown.pm2.app#role) tells of deploys by it, from the controller.
extends_documentation_fragment:
  - zerodown.pm2.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is sent.
  diff_mode:
    support: none
  idempotent:
    support: none
options:
  host:
    description: The SMTP server.
    type: str
    required: true
  port:
    description: Its port.
    type: int
    required: true
  encryption:
    description:
      - V(starttls), the connection is encrypted before anything is sent; V(tls), from its beginning; V(none), not at
        all. The server's certificate is checked.
    type: str
    choices: [starttls, tls, none]
    default: starttls
  username:
    description: Whom to log in as. By default without.
    type: str
  password:
    description: With which password. It is not sent over a connection that is not encrypted.
    type: str
  from:
    description: The sender.
    type: str
    required: true
  to:
    description: The recipients.
    type: list
    elements: str
    required: true
  subject:
    description: The subject.
    type: str
    required: true
  body:
    description: The text.
    type: str
    default: ''
  timeout:
    description: Seconds that each step of the conversation may take.
    type: float
    default: 10
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Tell the team
  zerodown.pm2.mail:
    host: smtp.example.com
    port: 587
    username: deploy
    password: "{{ smtp_password }}"
    from: deploy@example.com
    to: [team@example.com]
    subject: shop is deployed
  delegate_to: localhost
"""

RETURN = r"""
refused:
  description: The recipients that the server did not take, while it took others.
  returned: success
  type: list
  elements: str
"""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._module import run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "encryption": {"type": "str", "choices": ["starttls", "tls", "none"], "default": "starttls"},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "from": {"type": "str", "required": True},
            "to": {"type": "list", "elements": "str", "required": True},
            "subject": {"type": "str", "required": True},
            "body": {"type": "str", "default": ""},
            "timeout": {"type": "float", "default": 10.0},
        },
        required_by={"password": ["username"]},
        supports_check_mode=True,
    )
    run(module, work, hidden=["password"])


def work(module: AnsibleModule) -> Dict[str, Any]:
    parameters = module.params
    if parameters["encryption"] == "none" and parameters["password"]:
        raise Pm2Error(
            "A password is not sent to {host} unencrypted; set encryption to starttls or tls.".format(**parameters)
        )
    mail = message(parameters)
    if module.check_mode:
        return {"changed": True, "refused": []}
    try:
        refused = send(parameters, mail)
    except (OSError, smtplib.SMTPException) as error:
        raise Pm2Error(
            "The mail could not be handed to {host}:{port}: {0}.".format(reason(error), **parameters)
        ) from error
    return {"changed": True, "refused": sorted(refused)}


def message(parameters: Dict[str, Any]) -> EmailMessage:
    mail = EmailMessage()
    try:
        mail["From"] = parameters["from"]
        mail["To"] = ", ".join(parameters["to"])
        # a header is one line
        mail["Subject"] = " ".join(parameters["subject"].split())
    except ValueError as error:
        raise Pm2Error("from, to and subject cannot be headers of a mail: {0}.".format(error)) from error
    mail["Date"] = formatdate(localtime=True)
    mail["Message-ID"] = make_msgid()
    mail.set_content(parameters["body"])
    return mail


def send(parameters: Dict[str, Any], mail: EmailMessage) -> Dict[str, Any]:
    place = {"host": parameters["host"], "port": parameters["port"], "timeout": parameters["timeout"]}
    context = ssl.create_default_context()
    is_tls = parameters["encryption"] == "tls"
    with smtplib.SMTP_SSL(context=context, **place) if is_tls else smtplib.SMTP(**place) as server:
        if parameters["encryption"] == "starttls":
            server.starttls(context=context)
        if parameters["username"]:
            server.login(parameters["username"], parameters["password"] or "")
        return server.send_message(mail)


def reason(error: Exception) -> str:
    """What the server said, or what kept us from it."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "it takes none of the recipients {0}".format(", ".join(sorted(error.recipients)))
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return "it answers {0} {1}".format(error.smtp_code, " ".join(text.split()).rstrip("."))
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")


if __name__ == "__main__":
    main()
