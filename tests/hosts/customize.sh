#!/bin/sh
# Runs inside a new Debian root: everything that the test hosts have in common and that a package does not bring.
set -eu

# each host gets its own
rm -f /etc/ssh/ssh_host_*
: >/etc/machine-id

useradd --create-home --shell /bin/bash debian
echo 'debian ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/debian
chmod 0440 /etc/sudoers.d/debian

# keys outside of the homes: they can be put there before a host starts, without knowing its user ids
echo 'AuthorizedKeysFile /etc/ssh/authorized_keys/%u' >/etc/ssh/sshd_config.d/testhosts.conf
mkdir /etc/ssh/authorized_keys

# a power cut is one of the host, not of the machine that carries it
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/testhosts
systemctl --quiet enable systemd-networkd

# the machine's own certificate authorities, when it has any: for Python, Node, sudo and systemd's units
if ls /usr/local/share/ca-certificates/*.crt >/dev/null 2>&1; then
    bundle=/etc/ssl/certs/ca-certificates.crt
    update-ca-certificates >/dev/null 2>&1
    printf '[global]\ncert = %s\n' "$bundle" >/etc/pip.conf
    printf 'NODE_EXTRA_CA_CERTS=%s\n' "$bundle" >>/etc/environment
    echo 'Defaults env_keep += "NODE_EXTRA_CA_CERTS"' >/etc/sudoers.d/ca
    chmod 0440 /etc/sudoers.d/ca
    mkdir -p /etc/systemd/system.conf.d
    printf '[Manager]\nDefaultEnvironment=NODE_EXTRA_CA_CERTS=%s\n' "$bundle" >/etc/systemd/system.conf.d/ca.conf
fi
