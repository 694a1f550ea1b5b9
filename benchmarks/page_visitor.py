"""A visitor of the page without a browser: Streamlit's own messages, over its own websocket.

It sends what a browser sends for a changed widget (every widget's value, the address bar, what it has cached)
and knows when the answer is complete and what in it is an error. It does not know who visits, how often, or
what the page is about: widgets are found by the key that the page gave them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

KINDS = ("selectbox", "radio", "text_input", "number_input", "slider", "button_group")
"""Elements that a visitor may change."""
LISTS = {"slider", "button_group"}
"""Those whose value is a list, though it may be one of one."""
DONE = (
    ForwardMsg.FINISHED_SUCCESSFULLY,
    ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY,
    ForwardMsg.FINISHED_WITH_COMPILE_ERROR,
)
"""A run that ends early for another one is followed by that one."""


class PageError(Exception):
    """The page answered with an exception."""


@dataclass
class Widget:
    """A widget as the page last described it; a change of one inside a fragment runs that fragment alone."""

    kind: str
    proto: Any
    fragment: str

    def options(self) -> list[str]:
        """What there is to choose from; none for free text and numbers."""
        if self.kind == "button_group":
            return [option.content for option in self.proto.options]
        return list(getattr(self.proto, "options", ()))

    def values(self) -> list[Any]:
        """What the page says is chosen: what it set the widget to, or else its default; none where unset."""
        words, name = self.options(), "default"
        if self.proto.set_value:
            name = ("raw_values" if self.kind == "button_group" else "raw_value") if words else "value"
        if self.kind in LISTS:
            found = list(getattr(self.proto, name))
        else:
            found = [getattr(self.proto, name)] if self.proto.HasField(name) else []
        # options are told by their places at first, and by name once they are set
        return [words[int(place)] for place in found] if words and name == "default" else found

    def state(self, values: list[Any]) -> WidgetState:
        """What is chosen, as a browser sends it."""
        state = WidgetState(id=self.proto.id)
        if self.kind in LISTS:
            sent = state.string_array_value if self.options() else state.double_array_value
            sent.data.extend(values)
        elif self.kind == "number_input":
            state.double_value = values[0]
        else:
            state.string_value = values[0]
        return state

    def draw(self, dice: random.Random, wanted: Sequence[Any], now: list[Any]) -> list[Any]:
        """Another choice than `now`: of those wanted where the widget has them, or of all it has."""
        if words := self.options():
            others = [word for word in words if word not in now]
            return [dice.choice([word for word in others if word in wanted] or others)]
        if self.kind == "slider":
            step = self.proto.step or 1
            return [self.proto.min + step * dice.randint(0, int((self.proto.max - self.proto.min) / step))]
        return [dice.choice([value for value in wanted if value not in now])]


class Visitor:
    """One session: `start` opens the page, `change` moves one widget; both wait for the whole answer."""

    def __init__(self, socket: ClientConnection, query: str, dice: random.Random) -> None:
        self.socket, self.dice = socket, dice
        self.address_bar = dict(parse_qsl(query))
        self.page_hash = ""
        self.widgets: dict[str, Widget] = {}
        self.chosen: dict[str, list[Any]] = {}
        self.cached: dict[str, ForwardMsg] = {}
        self.bytes = 0

    async def start(self) -> float:
        return await self._run("")

    async def change(self, key: str, wanted: Sequence[Any] = ()) -> float:
        """Seconds from the change of a widget until its answer is complete."""
        widget = self.widgets[key]
        values = widget.draw(self.dice, wanted, self.chosen.get(key, []))
        self.chosen[key] = values
        if widget.proto.query_param_key:
            word = values[0]
            self.address_bar[key] = word if isinstance(word, str) else f"{word:g}"
        return await self._run(widget.fragment)

    async def _run(self, fragment: str) -> float:
        asked = BackMsg()
        rerun = asked.rerun_script
        rerun.query_string = urlencode(self.address_bar)
        rerun.widget_states.widgets.extend(
            self.widgets[key].state(values) for key, values in self.chosen.items() if values
        )
        rerun.page_script_hash = self.page_hash
        rerun.fragment_id = fragment
        rerun.cached_message_hashes.extend(self.cached)
        started = time.perf_counter()
        await self.socket.send(asked.SerializeToString())
        errors: list[str] = []
        while True:
            data = await self.socket.recv()
            self.bytes += len(data)
            message = ForwardMsg.FromString(data)
            self._take(message, errors)
            if message.WhichOneof("type") == "script_finished" and message.script_finished in DONE:
                break
        seconds = time.perf_counter() - started
        if errors:
            raise PageError("; ".join(errors))
        return seconds

    def _take(self, message: ForwardMsg, errors: list[str]) -> None:
        """What a message is to the session: its page, something to keep, a part of the page."""
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.page_hash = message.new_session.page_script_hash
        elif kind == "session_event" and message.session_event.HasField("script_compilation_exception"):
            errors.append(message.session_event.script_compilation_exception.message)
        elif kind == "ref_hash":
            self._see(self.cached[message.ref_hash], errors)
        elif kind == "delta":
            if message.metadata.cacheable:
                self.cached[message.hash] = message
            self._see(message, errors)

    def _see(self, message: ForwardMsg, errors: list[str]) -> None:
        """Take note of a widget, or of an exception on the page."""
        delta = message.delta
        if delta.WhichOneof("type") == "new_element":
            kind = str(delta.new_element.WhichOneof("type"))
            proto = getattr(delta.new_element, kind)
            if kind == "exception" and not proto.is_warning:
                errors.append(f"{proto.type}: {proto.message}")
            if kind in KINDS:
                self._keep(Widget(kind, proto, delta.fragment_id))

    def _keep(self, widget: Widget) -> None:
        # `$$ID-<digest>-<key>`: the key is the page's own, or "None", and then nobody changes it
        key = widget.proto.id.split("-", 2)[-1]
        if key not in self.widgets or widget.proto.set_value:
            self.chosen[key] = widget.values()
        self.widgets[key] = widget


async def visitor(address: str, query: str, dice: random.Random) -> Visitor:
    """A visitor who has connected, and asked nothing yet."""
    socket = await connect(
        f"ws://{address}/_stcore/stream", subprotocols=["streamlit"], max_size=None, proxy=None
    )
    return Visitor(socket, query, dice)
