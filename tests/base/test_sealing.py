"""A sealed value opens in its own row of its own tenant, under a key that is still known, and never shows itself."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import logging
import pickle
import traceback

import orjson
import pytest

from base import settings
from base.sealing import Place, SealBroken, Sealed, Vault, key_id
from base.settings import SettingsError

OLD, NEW = b"o" * 40, b"n" * 40
TEXT = "whsec_CANARY"
HERE = Place("tenant_webhooks", "secret", "alice1", 5)


def test_what_is_sealed_opens_in_its_place_and_is_never_twice_the_same():
    vault = Vault([NEW])
    one, two = vault.seal(TEXT, HERE), vault.seal(TEXT, HERE)
    assert vault.open(one, HERE) == vault.open(two, HERE) == TEXT
    assert one.stored != two.stored
    assert TEXT not in one.stored


@pytest.mark.parametrize(
    "change", [{"table": "channels"}, {"column": "old_secret"}, {"tenant": "bob1"}, {"tenant": "alice"}, {"row_id": 6}]
)
def test_it_opens_nowhere_else(change):
    vault = Vault([NEW])
    with pytest.raises(SealBroken):
        vault.open(vault.seal(TEXT, HERE), dataclasses.replace(HERE, **change))


def test_places_whose_parts_run_together_are_different_places():
    vault = Vault([NEW])
    for one, other in itertools.permutations((Place("ab", "c", "t", 1), Place("a", "bc", "t", 1)), 2):
        with pytest.raises(SealBroken):
            vault.open(vault.seal(TEXT, one), other)


def test_every_altered_character_breaks_the_seal():
    vault = Vault([NEW])
    stored = vault.seal(TEXT, HERE).stored
    for at, character in enumerate(stored):
        other = "B" if character == "A" else "A"
        # The last character before the padding has bits that say nothing.
        if stored[at + 1 :].strip("="):
            with pytest.raises(SealBroken):
                vault.open(Sealed(stored[:at] + other + stored[at + 1 :]), HERE)


@pytest.mark.parametrize(
    "stored", ["", ".", "1", "1..", "1.x.y", "whsec_CANARY", "1.00000000.", "1.00000000.AAAA", "é"]
)
def test_what_was_never_sealed_is_told_as_broken_without_its_text(stored):
    with pytest.raises(SealBroken) as told:
        Vault([NEW]).open(Sealed(stored), HERE)
    assert "CANARY" not in str(told.value)


def test_an_old_key_opens_and_the_newest_seals():
    old = Vault([OLD]).seal(TEXT, HERE)
    both = Vault([NEW, OLD])
    assert both.open(old, HERE) == TEXT
    assert not both.is_newest(old)
    again = both.seal(TEXT, HERE)
    assert both.is_newest(again)
    assert Vault([NEW]).open(again, HERE) == TEXT
    with pytest.raises(SealBroken, match="not known here"):
        Vault([NEW]).open(old, HERE)
    assert {again.key_id, old.key_id} == {key_id(NEW), key_id(OLD)}


def test_it_is_not_printed_logged_serialised_or_copied(caplog):
    vault = Vault([NEW])
    sealed = vault.seal(TEXT, HERE)
    with caplog.at_level(logging.INFO):
        logging.getLogger("atrium").info("%s %r", sealed, {"secret": sealed, "vault": vault})
    try:
        vault.open(Sealed(sealed.stored[:-6]), HERE)
    except SealBroken:
        told = traceback.format_exc()
    else:
        raise AssertionError("a shortened value opened")
    for text in (str(sealed), f"{sealed}", repr([sealed]), repr(vault), caplog.text, told):
        assert TEXT not in text
        assert sealed.stored not in text
        assert "n" * 40 not in text
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copied(sealed)
    with pytest.raises(TypeError):
        orjson.dumps({"secret": sealed})


def test_older_keys_stand_behind_commas_and_each_is_long_enough(tmp_path):
    def read(key):
        return settings.read({"ATRIUM_VAR": str(tmp_path), "ATRIUM_SECRET_KEY": key})

    one = read("k" * 40)
    assert (one.secret_key, one.secret_keys) == (b"k" * 40, (b"k" * 40,))
    two = read(f"{'n' * 40}, {'o' * 32}")
    assert (two.secret_key, two.secret_keys) == (b"n" * 40, (b"n" * 40, b"o" * 32))
    for wrong in ("k" * 31, f"{'n' * 40},{'o' * 31}", f"{'n' * 40},", ","):
        with pytest.raises(SettingsError, match="ATRIUM_SECRET_KEY"):
            read(wrong)
