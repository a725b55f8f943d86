"""Segmind's API key, in the stack's secret."""

from typing import Any

from kontext.log import logger

REMEMBERED_SECONDS = 300


class ApiKey:
    """The key that a secret holds, and the one before it. `provider`: gives secrets, and remembers them."""

    def __init__(self, provider: Any, secret: str) -> None:
        self.provider = provider
        self.secret = secret
        self._last: str | None = None

    def current(self, fresh: bool = False) -> str:
        """The key, remembered for five minutes; `fresh`: as it is now. While nobody gives it, the last one known is
        used on: it is for Segmind to refuse it."""
        try:
            key = self.provider.get(self.secret, max_age=REMEMBERED_SECONDS, force_fetch=fresh)
        except Exception:
            if self._last is None:
                raise
            logger.exception("the last known API key is used on")
            return self._last
        self._last = str(key).strip()
        return self._last

    def previous(self) -> str | None:
        """The key before the one that is in force; None if there was none."""
        client = self.provider.client
        try:
            answer = client.get_secret_value(SecretId=self.secret, VersionStage="AWSPREVIOUS")
        except client.exceptions.ResourceNotFoundException:
            return None
        return str(answer["SecretString"]).strip()
