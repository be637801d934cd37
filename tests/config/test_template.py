"""
Tests of twistginx.config.template and twistginx.config.text.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.scope import Scope
from twistginx.config.template import (
    CAPTURE,
    LOG_VARIABLES,
    REQUEST_VARIABLES,
    LogTemplate,
    ResponseTemplate,
    Template,
    Variable,
)
from twistginx.config.text import Secret, expand, written


class TemplateTests(SynchronousTestCase):
    """
    Texts with variables.
    """

    def test_parts(self):
        """
        Text and variables come in order; two braces are one; the name of a field is in lower case.
        """
        template = Template.parse("a{client}{{b}}{header.X-Foo}{cookie.Id}{{{arg.q}}}")
        self.assertEqual(
            template.parts,
            (
                "a",
                Variable("client"),
                "{b}",
                Variable("header", "x-foo"),
                Variable("cookie", "Id"),
                "{",
                Variable("arg", "q"),
                "}",
            ),
        )
        self.assertFalse(template.is_constant)
        self.assertRaises(ValueError, getattr, template, "constant")

    def test_constant(self):
        """
        Without variables it is a constant.
        """
        for text, constant in (("", ""), ("a", "a"), ("{{x}}", "{x}")):
            template = Template.parse(text)
            self.assertTrue(template.is_constant)
            self.assertEqual(template.constant, constant)

    def test_every_variable(self):
        """
        Every name of the table is understood, with an argument where it takes one.
        """
        for name in LOG_VARIABLES:
            argument = {"proxy_protocol.": "port", "tls.": "version"}.get(name, "x")
            text = f"{{{name}{argument}}}" if name.endswith(".") else f"{{{name}}}"
            with Scope(frozenset("x"), frozenset("x")).entered():
                (variable,) = LogTemplate.parse(text).parts
            self.assertEqual(str(variable), text)

    def test_scope(self):
        """
        What the configuration defines is known where it is defined, and nowhere else.
        """
        outer = Scope(frozenset({"tier"}), frozenset({"a"}))
        inner = outer.within(variables=("b",), captures=("0", "1", "id"))
        with inner.entered():
            parts = Template.parse("{map.tier}{var.a}{var.b}{1}{id}").parts
            self.assertEqual("".join(map(str, parts)), "{map.tier}{var.a}{var.b}{1}{id}")
            self.assertEqual(parts[-1], Variable(CAPTURE, "id"))
        with outer.entered():
            for text, reason in (
                ("{var.b}", "unknown variable {var.b}"),
                ("{var.aa}", 'did you mean "{var.a}"?'),
                ("{map.tear}", 'did you mean "{map.tier}"?'),
                ("{1}", "captured by no regex here"),
                ("{id}", "unknown variable"),
                ("{map}", 'as in "{map.x}"'),
                ("{tls.versoin}", 'did you mean "{tls.version}"?'),
            ):
                error = self.assertRaises(ValueError, Template.parse, text)
                self.assertIn(reason, str(error))
        self.assertRaises(ValueError, Template.parse, "{map.tier}")

    def test_proxy_protocol(self):
        """
        What can be said of a PROXY header is a closed list, and TLVs by number; a wrong name is met with the right one.
        """
        self.assertEqual(
            Template.parse("{proxy_protocol.Authority}{proxy_protocol.tlv_0xEA}").parts,
            (Variable("proxy_protocol", "authority"), Variable("proxy_protocol", "tlv_0xea")),
        )
        for text, hint in (
            ("{proxy_protocol.adress}", 'did you mean "{proxy_protocol.address}"?'),
            ("{proxy_protocol.tlv_0x}", "TLVs by number, tlv_0xE0"),
            ("{proxy_protocol.tlv_0x100}", "TLVs by number, tlv_0xE0"),
            ("{proxy_protocol}", 'needs a name, as in "{proxy_protocol.address}"'),
        ):
            error = self.assertRaises(ValueError, Template.parse, text)
            self.assertIn(hint, str(error))

    def test_when(self):
        """
        A variable that is known only later is refused, unless the kind of template or the caller allows it.
        """
        error = self.assertRaises(ValueError, Template.parse, "{status}")
        self.assertEqual(str(error), "{status} is not known at this point of a request")
        self.assertRaises(ValueError, ResponseTemplate.parse, "{duration}")
        self.assertEqual(ResponseTemplate.parse("{status}").parts, (Variable("status"),))
        self.assertEqual(Template.parse("{duration}", LOG_VARIABLES).parts, (Variable("duration"),))
        self.assertRaises(ValueError, LogTemplate.parse, "{duration}", REQUEST_VARIABLES)

    def test_refused(self):
        """
        What is wrong is named, with what was probably meant.
        """
        for text, reason in (
            ("{clint}", 'did you mean "{client}"?'),
            ("{headers.x}", 'did you mean "{header.x}"?'),
            ("{header}", 'as in "{header.x}"'),
            ("{header.}", 'as in "{header.x}"'),
            ("{host.x}", "takes no name"),
            ("{}", "unknown variable"),
            ("{request_od}", 'did you mean "{request_id}"?'),
            ("a{", 'write "{{"'),
            ("a}", 'write "}}"'),
            ("{a{b}", 'write "{{"'),
        ):
            error = self.assertRaises(ValueError, Template.parse, text)
            self.assertIn(reason, str(error))

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.text(st.sampled_from("{}ab.") | st.characters(codec="utf-8")))
    def test_escaped_text_is_itself(self, text):
        """
        Any text whose braces are doubled is itself.
        """
        self.assertEqual(Template.parse(text.replace("{", "{{").replace("}", "}}")).constant, text)


class ExpandTests(SynchronousTestCase):
    """
    ``{env.X}`` and ``{file.P}``.
    """

    def expand(self, text):
        values = {("env", "A"): "x{host}y", ("env", "B"): "{env.A}", ("file", "a/b.txt"): "content", ("env", "E"): ""}
        return expand(text, Path("/etc"), lambda kind, name: values[kind, name])

    def test_once(self):
        """
        What is put in is not looked at again.
        """
        self.assertEqual(self.expand("1{env.A}2{env.B}{file.a/b.txt}"), "1x{host}y2{env.A}content")

    def test_other_braces_stay(self):
        """
        Other braces, and doubled ones, are left alone.
        """
        for text in ("{host}", '{"a": {"b": {}}}', "{{env.A}}", "{{{{", "{env}", "{environment.A}"):
            expanded = self.expand(text)
            self.assertEqual(expanded, text)
            self.assertNotIsInstance(expanded, Secret)
        self.assertEqual(self.expand("{{{file.a/b.txt}}}"), "{{content}}")

    def test_secret(self):
        """
        The string holds what was put in; its ``repr`` and ``written`` do not.
        """
        secret = self.expand("a {file.a/b.txt}")
        self.assertEqual(repr(secret), "'a {file.a/b.txt}'")
        self.assertEqual(written(secret), "a {file.a/b.txt}")
        self.assertEqual(secret.hide_in("is a content, really content"), "is a {file.a/b.txt}, really ...")
        self.assertEqual(self.expand("{env.E}").hide_in("is empty"), "is empty")

    def test_literal_in_templates(self):
        """
        In a template, what was put in is literal, braces and all; what was written is not.
        """
        template = Template.parse(self.expand("{{{env.A}}} {client}"))
        self.assertEqual(template.parts, ("{x{host}y} ", Variable("client")))
        self.assertEqual(template.text, "{{{env.A}}} {client}")
        self.assertNotIn("{host}y", repr(template))
        self.assertRaises(ValueError, Template.parse, self.expand("{header.{env.A}}"))
