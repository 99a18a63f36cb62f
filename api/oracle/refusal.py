"""Refusals in the words and the shape that OpenAI-compatible servers use."""

from starlette.responses import JSONResponse


class Refusal(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, words: str, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(words)
        self.status, self.words, self.param, self.retry_after = status, words, param, retry_after

    def response(self) -> JSONResponse:
        error = {"message": self.words, "type": _kind(self.status), "param": self.param, "code": self.status}
        headers = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}
        return JSONResponse({"error": error}, status_code=self.status, headers=headers)


def _kind(status: int) -> str:
    names = {404: "NotFoundError", 429: "RateLimitError"}
    return names.get(status, "InternalServerError" if status >= 500 else "BadRequestError")
