"""The bytes and numbers that leave the process are what FORMATS.md says, for ever."""

from __future__ import annotations

import re
from pathlib import Path

import make_formats
import numpy as np
import pytest

from rightsx.errors import CorruptionError, MisuseError
from rightsx.protocol import (
    COMMAND,
    EVENT,
    EVENT_LENGTH,
    FIRST_COLD_KIND,
    INT64_MAX,
    INT64_MIN,
    REPORT,
    U32_MAX,
    CancelReason,
    Command,
    CommandKind,
    Event,
    EventKind,
    Refusal,
    Report,
    ReportKind,
    Term,
    Terms,
    code_name,
    command_records,
    commands_of,
    event_records,
    events_of,
    report_records,
)
from rightsx.vocabulary import COMMANDS, PAYLOADS, cold_command, command, pack, payload_digest, unpack
from rightsx.wording import EVENTS, describe, name_parts, name_text, refused_field

ROOT = Path(__file__).resolve().parents[1]

OFFSETS = {
    "COMMAND": (
        COMMAND,
        80,
        "time_ns 0 kind 8 side 9 time_in_force 10 flags 11 series 12 account 16 other_account 20 order_id 24 price 32 qty 40 "
        "deadline_ns 48 display 56 stop_price 64 ref 72",
    ),
    "EVENT": (
        EVENT,
        120,
        "length 0 version 2 kind 3 series 4 event_seq 8 time_ns 16 command_seq 24 order_id 32 other_order_id 40 account 48 "
        "other_account 52 price 56 qty 64 amount 72 fee 80 other_fee 88 extra 96 code 100 side 102 flags 103 salt 104",
    ),
    "REPORT": (
        REPORT,
        48,
        "order_id 0 other_order_id 8 price 16 qty 24 command_index 32 series 36 account 40 kind 44 side 45 code 46",
    ),
}

NUMBERS = {
    CommandKind: "PLACE 1 CANCEL 2 AMEND 3 CANCEL_ALL 4 CANCEL_AFTER 5 SUBSCRIBE 6 GRANT 7 TRANSFER 8 REDEEM 9 REDEEM_BILL 10 "
    "REFUND 11 LOCK_VOUCHER 12 UPLOAD_VOUCHER 13 HALT 14 RESUME 15 FREEZE 16 UNFREEZE 17 KILL 18 UNKILL 19 DEFAULT 20 "
    "CHARGEBACK 21 DEPOSIT 22 WITHDRAW 23 ADVANCE 24 OPEN_ACCOUNT 25 SET_ACCOUNT 26 SET_TIER 27 PUBLISH 28 PAY_BILL 29 "
    "BUY_PRODUCT 30 ROLL 31 PLAN_SALE 32 REGISTER_MERCHANT 64 "
    "REGISTER_STORE 65 REGISTER_TERMINAL 66 REGISTER_CHANNEL 67 LIST_SERIES 68 IMPORT_MEMBERS 69",
    EventKind: "ACCEPTED 1 FILL 2 CANCELLED 3 AMENDED 4 TRIGGERED 5 MASS_CANCELLED 6 CANCEL_AFTER_SET 7 UNCROSSED 8 REPRICED 9 "
    "SALE_PLANNED 10 PLAN_STEPPED 11 SOLD 16 "
    "GRANTED 17 IMPORTED 18 GIFTED 19 REDEEMED 20 BILL_REDEEMED 21 REFUNDED 22 VOUCHER_LOCKED 23 VOUCHER_REDEEMED 24 "
    "VOUCHER_LAPSED 25 DOUBLE_REDEEMED 26 BILL_PAID 27 PRODUCT_BOUGHT 28 ROLLED 29 "
    "ESCROW_RELEASED 32 DECAYED 33 TRADING_ENDED 34 EXPIRED 35 PAID_OUT 36 "
    "MERCHANT_DEFAULTED 37 SERIES_DEFAULTED 38 HALTED 48 RESUMED 49 FROZEN 50 UNFROZEN 51 KILLED 52 UNKILLED 53 "
    "CHARGED_BACK 54 DEPOSITED 55 WITHDRAWN 56 ADVANCED 57 REFERENCE_FORGOTTEN 58 STATE 59 ACCOUNT_OPENED 64 ACCOUNT_SET 65 TIER_SET 66 "
    "MERCHANT_REGISTERED 67 STORE_REGISTERED 68 TERMINAL_REGISTERED 69 CHANNEL_REGISTERED 70 LISTED 71 STEP 72 TERM 73 NAME 74 "
    "REFUSED 128 DUPLICATE 129",
    CancelReason: "USER 101 IOC 102 GTD 103 SELF_TRADE 104 PRICE_ABOVE_CAP 105 LAST_TRADE 106 MERCHANT_DEFAULT 107 "
    "ACCOUNT_FROZEN 108 CHARGEBACK 109 CANCEL_ALL 110 CANCEL_AFTER 111",
    ReportKind: "ACCEPTED 1 FILL 2 CANCELLED 3 AMENDED 4 REFUSED 5",
}

# RULES.md, "Order of checks and numbering of refusals", word by word.
ORDER_OF_CHECKS = """ClockBackwards; BadQuantity, BadPrice, BadAmount, BadTime, BadTerms,
  IdempotencyConflict, UnknownAccount, UnknownSeries, UnknownVoucher, OrderNotOpen, NotOwner, DuplicateId, PolicyMissing,
  ScheduleNotMonotone, ScheduleBelowPrincipal, MerchantDefaulted, AccountFrozen, SeriesExpired, TradingClosed, Killed, SeriesHalted,
  MerchantCannotSubscribe, MerchantCannotResell, BuybackFlagRequired, ResaleForbidden, SelfTransfer, StoreNotInProduct,
  NoRedeemableValue, VoucherBeyondExpiry, AuthorisedExceeded, ChannelCapExceeded, CoolingOffNotAvailable, PriceAboveCap,
  OutsidePriceBand, HolderLimitExceeded, OrderLimitExceeded, InsufficientUnits, HoldingPeriod, InsufficientCash,
  MerchantFundsInsufficient, PostOnlyWouldCross, FOKUnfillable, TerminalNotAllowed, VoucherExpired, DoubleRedeem, VoucherLapsed,
  CapacityExceeded"""


@pytest.mark.parametrize("name", OFFSETS)
def test_record_sizes_and_offsets_never_change(name):
    dtype, size, golden = OFFSETS[name]
    words = golden.split()
    assert dtype.itemsize == size
    assert {field: dtype.fields[field][1] for field in dtype.names} == dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert sum(dtype.fields[field][0].itemsize for field in dtype.names) == size, "hidden padding"


@pytest.mark.parametrize("enum", NUMBERS, ids=lambda enum: enum.__name__)
def test_enum_numbers_never_change(enum):
    words = NUMBERS[enum].split()
    assert {member.name: member.value for member in enum} == dict(zip(words[::2], map(int, words[1::2]), strict=True))


def test_refusals_are_numbered_in_the_order_of_checks():
    assert [refusal.name for refusal in Refusal] == re.findall(r"\w+", ORDER_OF_CHECKS)
    assert [refusal.value for refusal in Refusal] == list(range(1, 49))


def test_no_number_means_two_things_and_zero_means_none():
    assert not {refusal.value for refusal in Refusal} & {reason.value for reason in CancelReason}
    for enum in (*NUMBERS, Refusal, Term):
        assert 0 not in {member.value for member in enum}
    assert code_name(250) == "250"


def test_terms_stand_in_the_order_of_their_numbers():
    assert [Term(number).name.lower() for number in range(1, 28)] == list(Terms._fields)


def test_plain_rows_and_records_are_the_same():
    commands = [Command(*range(15)), Command(), Command(time_ns=INT64_MAX, price=INT64_MIN, ref=2**64 - 1, series=U32_MAX)]
    assert commands_of(command_records(commands)) == commands
    events = [Event(*range(1, 19)), Event(1)]
    records = event_records(events)
    assert events_of(records) == events
    assert set(records["length"]) == {EVENT_LENGTH}
    assert records[0].tobytes()[:2] == bytes.fromhex("0076"), "C2SP's big-endian 118"
    assert report_records([Report(*range(10))]).tolist() == [tuple(range(10))]


def test_a_wrong_dtype_is_misuse():
    for read in (commands_of, events_of):
        with pytest.raises(MisuseError):
            read(np.zeros(3, "i8"))


def test_every_kind_is_in_its_table():
    assert set(COMMANDS) == set(CommandKind)
    assert set(EVENTS) == set(EventKind)
    assert set(PAYLOADS) == {kind for kind in CommandKind if kind >= FIRST_COLD_KIND}


def test_tables_name_real_fields_each_once():
    for kind, arguments in COMMANDS.items():
        fields = [argument.field for argument in arguments]
        assert set(fields) <= set(Command._fields[2:]), kind
        assert len(set(fields)) == len(fields), kind
    for kind, shape in EVENTS.items():
        for name in shape.fields:
            assert set(name.split(", ")) <= set(Event._fields), kind


def test_formats_md_says_what_the_tables_say():
    text = (ROOT / "FORMATS.md").read_text()
    assert text == make_formats.page(), "run python tools/make_formats.py"
    for kind, arguments in COMMANDS.items():
        assert f"| {kind.name} | {kind.value} |" in text
        for argument in arguments:
            assert f"`{argument.field}` {argument.meaning}" in text, (kind, argument.field)
    for kind, shape in EVENTS.items():
        assert f"| {kind.name} | {kind.value} |" in text
        for field, meaning in shape.fields.items():
            assert f"`{field}` {meaning}" in text, (kind, field)
    for refusal in Refusal:
        assert f"{refusal.value} {refusal.name}" in text


def test_every_event_can_be_said_in_a_sentence():
    for kind in EventKind:
        sentence = describe(Event(kind=kind, code=34, side=1))
        assert sentence
        assert "{" not in sentence
    refusal = Event(kind=EventKind.REFUSED, code=2, extra=1, flags=11, amount=-5, fee=1)
    assert describe(refusal) == "refused: BadQuantity (qty was -5; 1 is allowed)"
    assert describe(event_records([refusal])[0]) == describe(refusal)
    assert refused_field(refusal._replace(extra=CommandKind.DEPOSIT)) == "amount"
    assert refused_field(refusal._replace(extra=CommandKind.KILL)) == "qty"
    assert refused_field(refusal._replace(flags=0)) == ""


@pytest.mark.parametrize("value", [True, 1.0, "1", None, float("nan"), np.float64(1), np.bool_(True), 1 + 0j, [1]])
def test_only_true_integers_pass_the_border(value):
    with pytest.raises(MisuseError, match="an integer is due") as caught:
        command(CommandKind.DEPOSIT, account=1, amount=value) if value is not None else command(
            CommandKind.DEPOSIT, account=1, amount=value or "none"
        )
    assert caught.value.code == Refusal.BadAmount


@pytest.mark.parametrize("value", [np.int8(5), np.uint64(5), np.int64(5), 5])
def test_numpy_integers_are_integers(value):
    assert command(CommandKind.DEPOSIT, account=1, amount=value).qty == 5


def test_numbers_beyond_a_field_are_saturated_so_that_the_market_refuses_them():
    made = command(CommandKind.DEPOSIT, account=-1, amount=10**30)
    assert (made.account, made.qty) == (U32_MAX, INT64_MAX)
    assert command(CommandKind.DEPOSIT, account=2**40, amount=-(10**30)).qty == INT64_MIN
    assert command(CommandKind.DEPOSIT, account=2**40, amount=1).account == U32_MAX


@pytest.mark.parametrize("ref", [-1, 2**64, 2**80])
def test_two_references_never_become_one(ref):
    with pytest.raises(MisuseError, match="ref was"):
        command(CommandKind.DEPOSIT, account=1, amount=1, ref=ref)
    with pytest.raises(MisuseError, match="ref was"):
        cold_command(CommandKind.REGISTER_CHANNEL, {"name": "x", "ref": ref})


def test_a_time_long_ago_never_means_now():
    assert command(CommandKind.ADVANCE, time_ns=-(2**80)).time_ns == INT64_MIN + 1
    assert command(CommandKind.ADVANCE).time_ns == command(CommandKind.ADVANCE, time_ns=INT64_MIN).time_ns == INT64_MIN


def test_numbers_in_a_payload_are_plain_and_saturated():
    payload = {"rows": [(np.int8(1), 2**80), (-(2**80), 5)], "ref": np.uint64(2**64 - 1)}
    made, data = cold_command(CommandKind.IMPORT_MEMBERS, payload, series=1, account=1)
    assert unpack(made, data) == {"rows": [[1, INT64_MAX], [INT64_MIN, 5]], "ref": 2**64 - 1}
    for wrong in (1.5, True, None, np.timedelta64(5)):
        with pytest.raises(MisuseError):
            cold_command(CommandKind.IMPORT_MEMBERS, {"rows": [[1, wrong]], "ref": 0}, series=1, account=1)


@pytest.mark.parametrize(
    "data",
    [b"\x81\x90\x01", b"\x82\x01\x01\xa1a\x02", b"\x91" * 900, b"\x81\xa1a" * 600, b"\x81\xa4name\xc1", b""],
)
def test_hostile_msgpack_is_corruption(data):
    made = Command(kind=CommandKind.REGISTER_MERCHANT, qty=len(data), ref=payload_digest(data))
    with pytest.raises(CorruptionError):
        unpack(made, data)


@pytest.mark.parametrize("payload", [None, "x", 5, []])
def test_a_payload_that_is_no_bytes_is_misuse(payload):
    with pytest.raises(MisuseError, match="bytes are due"):
        unpack(Command(kind=CommandKind.REGISTER_MERCHANT), payload)


def test_a_builder_says_what_is_missing_or_unknown():
    with pytest.raises(MisuseError, match="DEPOSIT needs amount: minor units of cash"):
        command(CommandKind.DEPOSIT, account=1)
    with pytest.raises(MisuseError, match="DEPOSIT has no argument price; it takes account, amount, ref"):
        command(CommandKind.DEPOSIT, account=1, amount=1, price=3)
    with pytest.raises(MisuseError, match="KILL has no argument account; it takes ref"):
        command(CommandKind.KILL, account=1)


def test_names_survive_being_cut_into_events():
    for text in ("", "a", "折扣消费权" * 14, "x" * 48, "x" * 49):
        parts = [Event(kind=EventKind.NAME, **fields) for fields in name_parts(text)]
        assert name_text(parts) == text
        assert len(parts) == -(-len(text.encode()) // 48)


def cold(payload):
    made, data = cold_command(CommandKind.REGISTER_MERCHANT, payload)
    return made, data


def test_a_payload_comes_back_as_it_went():
    made, data = cold({"name": "Cafe Nord", "ref": 0})
    assert unpack(made, data) == {"name": "Cafe Nord", "ref": 0}
    assert data == pack({"name": "Cafe Nord", "ref": 0})
    assert made.ref == payload_digest(data)


def test_payload_keys_are_sorted_at_every_depth():
    assert pack({"b": {2: 1, 1: 2}, "a": []}) == pack({"a": [], "b": {1: 2, 2: 1}})


@pytest.mark.parametrize("bit", range(0, 80, 7))
def test_a_flipped_bit_in_a_payload_is_corruption(bit):
    made, data = cold({"name": "Cafe Nord", "ref": 0})
    broken = bytearray(data)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptionError, match="the command states"):
        unpack(made, bytes(broken))


@pytest.mark.parametrize("length", range(10))
def test_a_shortened_payload_is_corruption(length):
    made, data = cold({"name": "Cafe Nord", "ref": 0})
    with pytest.raises(CorruptionError):
        unpack(made, data[:length])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xc1", "not msgpack of ours"),
        (b"\x81", "not msgpack of ours"),
        (pack({"name": "x", "ref": 0}) + b"\x00", "not msgpack of ours"),
        (pack({"title": "x", "ref": 0}), "not a canonical map of exactly name, ref"),
        (b"\x93\x01\x02\x03", "not a canonical map"),
        (b"\x82\xa4name\xd9\x01x\xa3ref\x00", "not a canonical map"),
        (pack({"name": 5, "ref": 0}), "payload has name = 5; text is due"),
        (pack({"name": "", "ref": 0}), "payload has name = ''"),
        (pack({"name": "x" * 225, "ref": 0}), "payload has name"),
        (pack({"name": "x", "ref": -1}), "payload has ref"),
        (pack({"name": "x", "ref": True}), "payload has ref"),
    ],
)
def test_a_payload_that_is_not_what_it_should_be_is_corruption(data, said):
    made = Command(kind=CommandKind.REGISTER_MERCHANT, qty=len(data), ref=payload_digest(data))
    with pytest.raises(CorruptionError, match=said):
        unpack(made, data)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("terms", {1: 1.0}),
        ("terms", {0: 1}),
        ("terms", {28: 1}),
        ("terms", [1]),
        ("steps", [[1]]),
        ("steps", [[1, True]]),
        ("steps", 3),
        ("stores", [1.5]),
        ("stores", {1: 1}),
        ("channel_caps", {"web": 3}),
    ],
)
def test_a_listing_with_wrong_types_is_corruption(key, value):
    payload = {"product": "x", "terms": {}, "steps": [], "stores": [], "channel_caps": {}, "ref": 0, key: value}
    data = pack(payload)
    made = Command(kind=CommandKind.LIST_SERIES, qty=len(data), ref=payload_digest(data))
    with pytest.raises(CorruptionError, match=f"payload has {key}"):
        unpack(made, data)
