"""Responses to requests that fail."""

from __future__ import annotations

import logging
from collections.abc import Awaitable

from .._logging import log_fields
from ..errors import (
    AibindError,
    ConversationConflictError,
    ConversationTooLargeError,
    ModelError,
    ModelTimeoutError,
    RequestError,
    SessionBusyError,
    SqliteSchemaError,
)
from ..streams.response import Body, HttpResponse
from ..streams.source import message_for_readers
from .bodies import RETRY_AFTER_S, ClientGoneError
from .responses import error_response

__all__ = ["answer_or_refuse"]

logger = logging.getLogger("aibind")


async def answer_or_refuse(answering: Awaitable[HttpResponse[Body]]) -> HttpResponse[Body]:
    """Return an endpoint's response, or a response that tells its client why there is none.

    Raises only ClientGoneError, when nobody is left to be told.
    """
    try:
        return await answering
    except SessionBusyError as error:
        busy = error_response(str(error), error.status, streamId=error.stream_id)
        retry = {"Retry-After": str(RETRY_AFTER_S)} if error.status == 429 else {}
        return HttpResponse(busy.status, {**busy.headers, **retry}, busy.body)
    except RequestError as error:
        refused = error_response(str(error), error.status)
        return HttpResponse(refused.status, {**refused.headers, **error.headers}, refused.body)
    except ModelError as error:
        return error_response(message_for_readers(error), 504 if isinstance(error, ModelTimeoutError) else 502)
    except ConversationConflictError:
        return error_response("This conversation was changed meanwhile: load it, and try again", 409)
    except ConversationTooLargeError as error:
        return error_response(str(error), 413)
    except SqliteSchemaError:
        logger.exception(
            "The database lacks a table: call migrate(client), or apply what `aibind schema` prints",
            extra=log_fields("request.no_tables"),
        )
        return error_response("The server's database is not set up", 500)
    except AibindError:
        logger.exception("A request could not be answered", extra=log_fields("request.store_failed"))
        return error_response("The server cannot store or read this at the moment: try again", 503)
    except ClientGoneError:
        raise
    except Exception:
        logger.exception("A request failed", extra=log_fields("request.failed"))
        return error_response("The server failed", 500)
