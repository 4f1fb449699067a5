"""Portico: serverless Python functions with URLs, on machines you own."""

from portico import exception
from portico.app import App
from portico.calls import FunctionCall
from portico.cls import Cls
from portico.context import current_function_call_id, current_input_id
from portico.exception import Error
from portico.file_pattern_matcher import FilePatternMatcher
from portico.functions import Function
from portico.image import Image
from portico.lifecycle import concurrent, enter, exit, method
from portico.locality import is_local
from portico.parameter import parameter
from portico.retries import Retries
from portico.secret import Secret
from portico.web import asgi_app, fastapi_endpoint, web_endpoint, web_server, wsgi_app

__version__ = "0.1.0"

__all__ = [
    "App",
    "Cls",
    "Error",
    "FilePatternMatcher",
    "Function",
    "FunctionCall",
    "Image",
    "Retries",
    "Secret",
    "asgi_app",
    "concurrent",
    "current_function_call_id",
    "current_input_id",
    "enter",
    "exception",
    "exit",
    "fastapi_endpoint",
    "is_local",
    "method",
    "parameter",
    "web_endpoint",
    "web_server",
    "wsgi_app",
]
