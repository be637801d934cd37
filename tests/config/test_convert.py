"""
Tests of twistginx.config.convert: what a third party's Config may be.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from attrs import Factory, field, frozen, validators
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.address import ServerAddress
from twistginx.config.convert import keys_of, structure, structure_table
from twistginx.config.faults import Fault, Faults, did_you_mean
from twistginx.config.networks import NetworkSet
from twistginx.config.template import Template
from twistginx.config.text import Text, expand
from twistginx.config.units import Duration, Size

_BASE = Path("/etc/twistginx")


def _at(value: Any) -> Any:
    """
    ``value`` as it would be in the tree of a file.
    """
    if isinstance(value, str):
        return Text.at(value, _BASE)
    if isinstance(value, dict):
        return {key: _at(each) for key, each in value.items()}
    return [_at(each) for each in value] if isinstance(value, list) else value


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Version:
    """
    Not ours: anything with ``parse``.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def parse(cls, text: str) -> Version:
        if not text.startswith("v"):
            raise ValueError(f"{text!r} is no version")
        return cls(text)


def _even(text: str) -> str:
    if len(text) % 2:
        raise ValueError("is odd")
    return text


@frozen
class Inner:
    """
    A table with two shorthands.
    """

    size: Size
    weight: int = field(default=1, validator=validators.ge(1))

    @classmethod
    def from_shorthand(cls, value: Any) -> Any:
        if value is True:
            return cls(Size(1))
        return {"size": value}


@frozen
class Everything:
    """
    Every type that a field may have.
    """

    text: str
    count: int = 0
    ratio: float = 0.5
    flag: bool = False
    wait: Duration = Duration(1)
    size: Size = Size(1)
    trusted: NetworkSet = NetworkSet()
    template: Template | None = None
    server: ServerAddress | None = None
    path: Path | None = None
    names: tuple[str, ...] = ()
    single: tuple[int, ...] = field(default=(), metadata={"single": True})
    table: dict[str, Duration] = Factory(dict)
    colour: Colour = Colour.RED
    level: Level = Level.LOW
    word: Literal["on", "off", 1] = "on"
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    version: Version | None = None
    anything: Any = None
    either: int | str | Inner = 0
    even: Annotated[str, _even] = ""
    noted: Annotated[int, "a remark"] = 0
    type_: int = field(default=0, alias="type")


@frozen
class Tree:
    """
    A table that contains itself.
    """

    name: str
    children: tuple[Tree, ...] = ()


class StructureTests(SynchronousTestCase):
    """
    Tables become objects, strictly.
    """

    def structure(self, **values: Any) -> Everything:
        return structure(_at({"text": "x", **values}), Everything)

    def faults(self, cls: type, value: Any) -> list[Fault]:
        return self.assertRaises(Faults, structure, _at(value), cls).faults

    def test_values(self):
        """
        Each type takes what it is made of.
        """
        for key, raw, value in (
            ("count", 3, 3),
            ("ratio", 1, 1.0),
            ("ratio", 1.5, 1.5),
            ("flag", True, True),
            ("wait", "10s", Duration(10)),
            ("size", "1KiB", Size(1024)),
            ("size", 7, Size(7)),
            ("trusted", ["10.0.0.0/8"], NetworkSet.parse(["10.0.0.0/8"])),
            ("template", "{host}", Template.parse("{host}")),
            ("server", "a:1", ServerAddress.parse("a:1")),
            ("path", "www", _BASE / "www"),
            ("path", "/www", Path("/www")),
            ("names", ["a", "b"], ("a", "b")),
            ("single", 1, (1,)),
            ("single", [1, 2], (1, 2)),
            ("table", {"a": "1s"}, {"a": Duration(1)}),
            ("colour", "blue", Colour.BLUE),
            ("level", 2, Level.HIGH),
            ("word", "off", "off"),
            ("word", 1, 1),
            ("inner", {"size": 2, "weight": 3}, Inner(Size(2), 3)),
            ("inner", "2", Inner(Size(2))),
            ("inner", True, Inner(Size(1))),
            ("inners", ["1", {"size": 2}], (Inner(Size(1)), Inner(Size(2)))),
            ("anything", [1, {"a": "b"}], [1, {"a": "b"}]),
            ("either", "x", "x"),
            ("either", 5, 5),
            ("either", {"size": 1}, Inner(Size(1))),
            ("even", "ab", "ab"),
            ("noted", 1, 1),
        ):
            found = getattr(self.structure(**{key: raw}), key)
            self.assertEqual((found, type(found)), (value, type(value)))
        self.assertEqual(self.structure(type=1).type_, 1)
        self.assertEqual(self.structure(version="v1").version.text, "v1")

    def test_strings_are_plain(self):
        """
        What modules are given are plain strings, which any C code or parser takes.
        """
        found = self.structure(names=["a"], anything={"a": ["b"]}, even="ab")
        for each in (found.text, found.names[0], found.anything["a"][0]):
            self.assertIs(type(each), str)

    def test_refused(self):
        """
        Nothing is coerced, and what was expected is said.
        """
        for key, raw, message, expected in (
            ("count", True, "is true", "expected an integer"),
            ("count", "3", 'is the string "3"', "expected an integer"),
            ("count", 3.0, "is the number 3.0", "expected an integer"),
            ("ratio", "1", 'is the string "1"', "expected a number"),
            ("ratio", True, "is true", "expected a number"),
            ("flag", 1, "is the number 1", "expected true or false"),
            ("text", 1, "is the number 1", "expected a string"),
            ("wait", 10, "is the number 10", 'expected a duration with its unit, "10s"'),
            ("wait", True, "is true", 'expected a duration such as "10s"'),
            ("size", 1.5, "is the number 1.5", 'expected a size such as "64KiB" or "10MB"'),
            ("size", -1, "is the number -1", 'expected a size such as "64KiB" or "10MB"'),
            ("path", "", 'is the string ""', "expected a path"),
            ("names", "a", 'is the string "a"', "expected an array"),
            ("table", [], "is an array", "expected a table"),
            ("colour", "green", 'is the string "green"', 'expected "red" or "blue"'),
            ("level", True, "is true", "expected 1 or 2"),
            ("word", True, "is true", 'expected "on", "off" or 1'),
            ("version", "1", "'1' is no version", ""),
            ("either", [], "is an array", "expected an integer or a string"),
            ("even", "abc", "is odd", ""),
            ("even", 1, "is the number 1", "expected a string"),
            ("noted", "x", 'is the string "x"', "expected an integer"),
            ("names", {"a": 1}, "is a table", "expected an array"),
        ):
            if key == "either":
                self.assertEqual(self.faults(Everything, {"text": "", key: raw})[0].path, (key,))
                continue
            faults = self.faults(Everything, {"text": "x", key: raw})
            self.assertEqual(faults, [Fault((key,), message, expected)])

    def test_all_faults(self):
        """
        Every fault is told, with the keys that lead to it, and what validators say of what is otherwise right.
        """
        faults = self.faults(
            Everything,
            {
                "count": "1",
                "cuont": 2,
                "inners": [{"size": "x", "weight": 0, "wieght": 1}, {"weight": 2}, "y"],
                "table": {"a": 1, "b": "1s"},
            },
        )
        self.assertEqual(
            [(fault.path, fault.of_key) for fault in faults],
            [
                (("cuont",), True),
                ((), True),
                (("count",), False),
                (("table", "a"), False),
                (("inners", 0, "wieght"), True),
                (("inners", 0, "size"), False),
                (("inners", 0, "weight"), False),
                (("inners", 1), True),
                (("inners", 2), False),
            ],
        )

    def test_partial(self):
        """
        What is wrong is stood in for by its default, so that the rest can be looked at.
        """
        error = self.assertRaises(Faults, structure, _at({"text": "x", "count": "1", "flag": True}), Everything)
        self.assertEqual(error.partial, Everything("x", flag=True))
        error = self.assertRaises(Faults, structure, {"count": 1}, Everything)
        self.assertIs(error.partial, None)

    def test_recursion(self):
        """
        A class may contain itself.
        """
        found = structure(_at({"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]}), Tree)
        self.assertEqual(found, Tree("a", (Tree("b", (Tree("c"),)),)))
        (fault,) = self.faults(Tree, {"name": "a", "children": [{"name": "b", "children": [{"name": 1}]}]})
        self.assertEqual(fault.path, ("children", 0, "children", 0, "name"))

    def test_shorthand_faults_stand_at_the_value(self):
        """
        The keys of a table that a shorthand stands for were never written.
        """
        (fault,) = self.faults(Everything, {"text": "x", "inner": "big"})
        self.assertEqual(fault.path, ("inner",))

    def test_shorthand_path(self):
        """
        A path that a module's own shorthand makes of a string resolves as well.
        """

        @frozen
        class Static:
            root: Path

            @classmethod
            def from_shorthand(cls, value):
                return cls(Path(value))

        self.assertEqual(structure(_at("www"), Static), Static(_BASE / "www"))

    def test_validator_of_two_fields(self):
        """
        A validator may look at another field, which may be there, left out, or wrong itself.
        """

        @frozen
        class Range:
            low: int = 0
            high: int = field(default=10)

            @high.validator
            def _check(self, attribute, value):
                if value < self.low:
                    raise ValueError("is below low")

        self.assertEqual([fault.path for fault in self.faults(Range, {"low": 3, "high": 2})], [("high",)])
        self.assertEqual([fault.path for fault in self.faults(Range, {"high": -1})], [("high",)])
        self.assertEqual([fault.path for fault in self.faults(Range, {"low": "x", "high": -1})], [("low",)])

    def test_broken_class(self):
        """
        A module that fails in its own code breaks nothing but its value.
        """

        @frozen
        class Broken:
            @classmethod
            def from_shorthand(cls, value):
                return value.nothing

        (fault,) = self.faults(Broken, 1)
        self.assertIn("AttributeError", fault.message)

        @frozen
        class Strange:
            value: complex = 1j

        (fault,) = self.faults(Strange, {"value": 1})
        self.assertIn("complex", fault.message)

    def test_secrets_are_not_told(self):
        """
        A message says what was written, not what was put in.
        """
        secret = expand("{env.A}", _BASE, lambda kind, name: "hunter2")
        for key in ("count", "wait", "size", "colour", "version", "flag", "template", "names", "trusted"):
            value = [secret] if key == "trusted" else secret
            error = None
            try:
                structure({"text": "x", key: value}, Everything)
            except Faults as faults:
                error = faults
            if key != "template":
                self.assertNotIn("hunter2", f"{error.faults}")

    def test_composed(self):
        """
        Fields that are put together elsewhere are no keys.
        """

        @frozen
        class Site:
            name: str
            routes: tuple[int, ...] = field(metadata={"composed": True})

        self.assertEqual(keys_of(Site), ["name"])
        self.assertEqual(structure_table(_at({"name": "a"}), Site, routes=(1,)), Site("a", (1,)))
        error = self.assertRaises(Faults, structure_table, _at({"name": "a", "routes": []}), Site, routes=())
        self.assertEqual([fault.message for fault in error.faults], ["unknown key"])


class DidYouMeanTests(SynchronousTestCase):
    """
    What was probably meant.
    """

    def test_nearest(self):
        """
        The nearest word, the word that begins alike, our word for theirs, or all that there are.
        """
        names = ["names", "listen", "listen_tls", "tls"]
        for word, hint in (
            ("nmaes", 'did you mean "names"?'),
            ("Listen", 'did you mean "listen"?'),
            ("listen-tls", 'did you mean "listen_tls"?'),
            ("server_name", 'did you mean "names"?'),
            ("liste", 'did you mean "listen"?'),
            ("xyz", "expected one of listen, listen_tls, names, tls"),
        ):
            self.assertEqual(did_you_mean(word, names), hint)
        self.assertEqual(did_you_mean("x", ["only"]), 'expected "only"')
        self.assertEqual(did_you_mean("x", []), "")
