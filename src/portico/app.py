"""Apps: what is served and deployed together."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from portico.callables import display_name, refuse_bare
from portico.cls import Cls, declare_class
from portico.declaration import Declaration
from portico.entrypoint import LocalEntrypoint
from portico.exception import InvalidError, NotFoundError
from portico.functions import Function, declare_function
from portico.image import Image
from portico.names import checked_app_name, checked_environment, environment_or_default
from portico.options import Options, checked_secrets
from portico.parameter import parameter
from portico.partial_function import PartialFunction
from portico.run import AppRun, OnEvent, OnLog
from portico.secret import Secret
from portico.twins import ClassTwin, Twin

if TYPE_CHECKING:
    from typing_extensions import Unpack, dataclass_transform

    from portico.client import AsyncRunningApp, RunningApp
else:

    def dataclass_transform(**_: object) -> Callable[[C], C]:
        """Only type checkers take the real one, which Python has from 3.11 on."""
        return lambda target: target


P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")


class FunctionDecorator(Protocol):
    """What ``app.function(...)`` returns."""

    @overload
    def __call__(
        self, target: PartialFunction[P, Coroutine[Any, Any, R]], /
    ) -> Function[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, target: PartialFunction[P, R], /) -> Function[P, R, R]: ...
    @overload
    def __call__(
        self, target: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Function[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, target: Callable[P, R], /) -> Function[P, R, R]: ...


def _lookup(
    owner: type[App],
    /,
    name: str,
    *,
    environment_name: str | None = None,
    create_if_missing: bool = False,
) -> App:
    """The deployed app `name`. Raises `NotFoundError` where there is none and it is not to be made.

    It is looked for in the environment `environment_name`, or else in the one that is in use.
    """
    from portico.client import default

    environment = environment_or_default(environment_name)
    app, client = owner(name), default()
    try:
        app.app_id = client.lookup_app(name, environment=environment).app_id
    except NotFoundError:
        if not create_if_missing:
            raise
        app.app_id = client.create_app(name, environment=environment).app_id
    return app


async def _lookup_aio(
    owner: type[App],
    /,
    name: str,
    *,
    environment_name: str | None = None,
    create_if_missing: bool = False,
) -> App:
    from portico.client import default

    environment = environment_or_default(environment_name)
    app, client = owner(name), default().aio
    try:
        app.app_id = (await client.lookup_app(name, environment=environment)).app_id
    except NotFoundError:
        if not create_if_missing:
            raise
        app.app_id = (await client.create_app(name, environment=environment)).app_id
    return app


class App:
    """Functions and classes that are served and deployed together.

    `image` and `secrets` are for functions that name none, and in front of their own. With
    ``include_source=False`` no Python file of the user's travels by itself.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        image: Image | None = None,
        secrets: Sequence[Secret] = (),
        include_source: bool = True,
    ) -> None:
        if image is not None and not isinstance(image, Image):
            raise InvalidError(f"image must be a portico.Image, not {image!r}")
        self.name = None if name is None else checked_app_name(name)
        self.image = image
        self.secrets = tuple(checked_secrets(secrets))
        self.include_source = include_source
        self.app_id: str | None = None
        self.running: RunningApp | AsyncRunningApp | None = None
        self._default_image = Image.debian_slim()
        self._registered: dict[str, Function[..., Any, Any] | Cls] = {}
        self._entrypoints: dict[str, LocalEntrypoint] = {}
        self._included: list[App] = []

    def function(self, *bare: object, **options: Unpack[Options]) -> FunctionDecorator:
        """Make a function one of the app's; see `Options` for the keyword arguments."""
        refuse_bare("app.function", bare)

        def decorate(target: Any) -> Any:
            function = declare_function(self, target, options)
            self._register(function.info, function)
            return function

        return decorate

    @dataclass_transform(field_specifiers=(parameter,), kw_only_default=True)
    def cls(self, *bare: object, **options: Unpack[Options]) -> Callable[[type[C]], type[C]]:
        """Make a class one of the app's; see `Options` for the keyword arguments."""
        refuse_bare("app.cls", bare)

        def decorate(target: type[C]) -> Any:
            found = declare_class(self, target, options)
            self._register(found.info, found)
            return found

        return decorate

    def local_entrypoint(
        self, *bare: object, name: str | None = None
    ) -> Callable[[Callable[P, R]], LocalEntrypoint]:
        """Make a function what ``portico run`` runs on the user's machine."""
        refuse_bare("app.local_entrypoint", bare)

        def decorate(target: Callable[P, R]) -> LocalEntrypoint:
            entrypoint = LocalEntrypoint(target, name or display_name(target))
            self._entrypoints[entrypoint.name] = entrypoint
            return entrypoint

        return decorate

    def include(self, other: App) -> App:
        """Add everything of `other`, which keeps its own images and secrets; returns this app."""
        for registered in other._registered.values():
            self._register(registered.info, registered)
        self._included.append(other)
        return self

    @property
    def registered_functions(self) -> dict[str, Function[..., Any, Any]]:
        """The app's functions by name."""
        return {k: v for k, v in self._registered.items() if isinstance(v, Function)}

    @property
    def registered_classes(self) -> dict[str, Cls]:
        """The app's classes by name."""
        return {k: v for k, v in self._registered.items() if isinstance(v, Cls)}

    @property
    def registered_entrypoints(self) -> dict[str, LocalEntrypoint]:
        """The app's local entrypoints by name."""
        return dict(self._entrypoints)

    @property
    def registered(self) -> tuple[Function[..., Any, Any] | Cls, ...]:
        """Functions and classes in the order of their declaration."""
        return tuple(self._registered.values())

    @property
    def included(self) -> tuple[App, ...]:
        """Apps that `include` was given."""
        return tuple(self._included)

    def image_of(self, declaration: Declaration) -> Image:
        """The image of one of the app's functions."""
        return declaration.settings.image or self.image or self._default_image

    def run(
        self,
        *,
        environment_name: str | None = None,
        on_event: OnEvent = None,
        on_log: OnLog = None,
    ) -> AppRun:
        """Run the app for the time of a ``with`` or ``async with`` block.

        `on_event` is told how the deploy goes (`wire.api.DeployEvent`), `on_log` each line containers print.
        """
        environment = checked_environment(environment_name)
        return AppRun(self, environment=environment, on_event=on_event, on_log=on_log)

    def _deploy(
        self,
        *,
        name: str | None = None,
        environment_name: str | None = None,
        on_event: OnEvent = None,
    ) -> App:
        """Make the app persistent under `name` (its own by default), replacing what runs under it.

        It belongs to the environment `environment_name`, or else to the one that is in use.
        """
        from portico.client import default
        from portico.manifest import build_manifest

        environment = environment_or_default(environment_name)
        manifest, blobs = build_manifest(self, name=self._deployable(name))
        deployed = default().deploy(
            manifest, blobs, name=manifest.name, environment=environment, on_event=on_event
        )
        self.app_id = deployed.app_id
        return self

    async def _deploy_aio(
        self,
        *,
        name: str | None = None,
        environment_name: str | None = None,
        on_event: OnEvent = None,
    ) -> App:
        from portico.client import default
        from portico.manifest import build_manifest

        environment = environment_or_default(environment_name)
        manifest, blobs = build_manifest(self, name=self._deployable(name))
        client = default().aio
        deployed = await client.deploy(
            manifest, blobs, name=manifest.name, environment=environment, on_event=on_event
        )
        self.app_id = deployed.app_id
        return self

    deploy = Twin(_deploy, _deploy_aio)
    lookup = ClassTwin(_lookup, _lookup_aio)

    def _deployable(self, name: str | None) -> str:
        chosen = name or self.name
        if chosen is None:
            raise InvalidError(
                "a deployed app needs a name: write portico.App('name'), or pass one to deploy"
            )
        return checked_app_name(chosen)

    def _register(
        self, declaration: Declaration, registered: Function[..., Any, Any] | Cls
    ) -> None:
        present = self._registered.get(declaration.name)
        place = (declaration.module, declaration.qualname)
        # A notebook cell that runs again declares the same function anew.
        if present is not None and (present.info.module, present.info.qualname) != place:
            raise InvalidError(
                f"the app has two functions called {declaration.name!r}; rename one, or give it name="
            )
        self._registered[declaration.name] = registered

    def __getstate__(self) -> dict[str, Any]:
        # Pickled functions refer to their app; a connection cannot travel with them.
        return {**self.__dict__, "running": None}

    def __repr__(self) -> str:
        return f"<App {self.name or 'without a name'}>"
