"""The images of a version, built side by side with their logs streamed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from portico.control.errors import DeployError
from portico.images.base import BuildError, ImageBuilder
from portico.wire.api import BuildDone, BuildLog, BuildStarted, DeployEvent
from portico.wire.image import ImageEnvironment, ImageSpec
from portico.wire.manifest import AppManifest

Emit = Callable[[DeployEvent], None]


def _unheard(_event: DeployEvent) -> None:
    """Nobody listens."""


async def build_images(
    builder: ImageBuilder, manifest: AppManifest, emit: Emit = _unheard
) -> dict[str, ImageEnvironment]:
    """The environments of all images that functions use, by the manifest's keys.

    The first build that fails ends the others and raises `DeployError` with the end of its log.
    """
    used = {function.image for function in manifest.functions}
    images = {manifest.images[key].image_id: manifest.images[key] for key in sorted(used)}
    tasks = {
        image_id: asyncio.create_task(_build(builder, spec, emit))
        for image_id, spec in images.items()
    }
    try:
        await asyncio.gather(*tasks.values())
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    return {key: tasks[manifest.images[key].image_id].result() for key in used}


async def _build(builder: ImageBuilder, spec: ImageSpec, emit: Emit) -> ImageEnvironment:
    image_id = spec.image_id
    environment = builder.cached(spec)
    if environment is not None:
        emit(BuildDone(image_id=image_id, seconds=0.0, cached=True))
        return environment
    began = False

    def said(text: str) -> None:
        # Not before the first line: a recipe that is refused, or needs a Python that is not here, builds nothing.
        nonlocal began
        if not began:
            began = True
            emit(BuildStarted(image_id=image_id))
        emit(BuildLog(image_id=image_id, text=text))

    started = time.monotonic()
    try:
        environment = await builder.build(spec, said)
    except BuildError as error:
        raise DeployError(error.message, error.log) from error
    emit(BuildDone(image_id=image_id, seconds=time.monotonic() - started, cached=False))
    return environment
