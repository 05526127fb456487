"""Writes the configuration that easyhaproxy makes of labels: one JSON object of labels a line in, one JSON text a line out."""

import json
import logging
import os
import sys
import tempfile
import types

# Its generator imports these and does not use them: they speak to the network and to processes.
for name in ("requests", "psutil", "OpenSSL"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["OpenSSL"].crypto = None

from easymapping import HaproxyConfigGenerator  # noqa: E402

logging.disable(logging.CRITICAL)

# Plugins write files there.
with tempfile.TemporaryDirectory() as folder:
    os.environ["EASYHAPROXY_BASE_PATH"] = folder
    for line in sys.stdin:
        # Without an address of mail, it takes no notice of certbot.
        certbot = {"email": "a@example.com", "server": False, "eab_kid": False, "eab_hmac_key": False}
        settings = {"stats": {"enabled": False}, "customerrors": False, "certbot": certbot}
        generator = HaproxyConfigGenerator(settings)
        print(json.dumps(generator.generate({"192.0.2.1": json.loads(line)})), flush=True)
