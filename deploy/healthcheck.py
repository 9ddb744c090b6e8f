"""The health check of a container: exit status 0 if HEALTH_URL is answered with 200, 1 if not."""

import os
import sys
import urllib.request

# No proxy of the environment stands between a container and itself.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
url = os.environ.get("HEALTH_URL", "http://127.0.0.1:8080/healthz")
try:
    with opener.open(url, timeout=3) as answer:
        sys.exit(answer.status != 200)
except OSError as error:
    sys.exit(f"{url}: {error}")
