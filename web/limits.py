"""How large a photo that is sent may be. The server, the page, its script and the API's document take the numbers from here.

A raw file is read through its embedded preview, so the size of a file is no danger: its pixels are, and they have a limit of
their own. A file that is sent lies on disk and is never whole in the server's memory.
"""

from __future__ import annotations

MB = 2**20
LARGEST_UPLOAD_MB = 100
LARGEST_UPLOAD = LARGEST_UPLOAD_MB * MB
LARGEST_PIXELS = 64_000_000
