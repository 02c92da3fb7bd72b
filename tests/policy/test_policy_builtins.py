"""Every function of PostgreSQL 13 to 18 is classified, each volatile one that is allowed has its reason, and the list is true.

A new major, or a function put on the wrong list by accident, fails here.
"""

import csv
import json
import os
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from gateway.services.policy import HIGHEST_MAJOR, LOWEST_MAJOR
from gateway.statements.catalogue import REFUSED_ARGUMENT_COUNTS, REFUSED_FUNCTIONS, SAFE_FUNCTIONS
from gateway.statements.policy import Policy, judge
from tests.policy.builtins import BuiltIn, built_ins, of_server
from tests.support.upstream import Upstream

_STUDY = os.environ.get("PGBASTION_POLICY_STUDY")
MAJORS = range(LOWEST_MAJOR, HIGHEST_MAJOR + 1)
KNOWN = built_ins()

# By its label each of these may write. It does not:
VOLATILE_AND_ALLOWED = {
    "the clock, chance, and a session's own state": (
        "clock_timestamp timeofday timezone random random_normal setseed gen_random_uuid uuidv4 uuidv7 array_sample array_shuffle"
        " current_query currval lastval pg_jit_available pg_replication_origin_session_is_setup pg_stat_clear_snapshot"
    ),
    "sizes and definitions of what is there": (
        "amvalidate pg_database_size pg_indexes_size pg_relation_size pg_table_size pg_tablespace_size pg_total_relation_size"
        " pg_partition_ancestors pg_partition_tree pg_collation_actual_version pg_database_collation_actual_version"
        " pg_sequence_last_value pg_get_sequence_data"
    ),
    "the server's state, which it only shows": (
        "pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system pg_current_wal_flush_lsn"
        " pg_current_wal_insert_lsn pg_current_wal_lsn pg_get_wait_events pg_get_wal_replay_pause_state"
        " pg_get_wal_resource_managers pg_get_wal_summarizer_state pg_is_in_recovery pg_is_wal_replay_paused"
        " pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_notification_queue_usage"
        " pg_show_replication_origin_status pg_is_in_backup pg_backup_start_time"
    ),
    "locks and transactions of others, which it only shows": (
        "pg_blocking_pids pg_safe_snapshot_blocking_pids pg_lock_status pg_prepared_xact pg_get_multixact_members"
        " pg_last_committed_xact pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status txid_status"
    ),
    "statistics": (
        "pg_stat_get_backend_io pg_stat_get_backend_wal pg_stat_get_io pg_stat_get_recovery_prefetch pg_stat_have_stats"
        " pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit pg_stat_get_xact_function_calls"
        " pg_stat_get_xact_function_self_time pg_stat_get_xact_function_total_time pg_stat_get_xact_numscans"
        " pg_stat_get_xact_tuples_deleted pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_hot_updated"
        " pg_stat_get_xact_tuples_inserted pg_stat_get_xact_tuples_newpage_updated pg_stat_get_xact_tuples_returned"
        " pg_stat_get_xact_tuples_updated"
    ),
    "reads large objects; a descriptor for writing cannot be had, since lo_open is refused": (
        "lo_close lo_get lo_lseek lo_lseek64 lo_tell lo_tell64 loread"
    ),
    "lets go of locks that nobody can take": "pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared",
    "the overload that runs a text is refused by its number of arguments": "ts_rewrite",
}
# By its label none of these writes, but each does more than compute:
QUIET_AND_REFUSED = {
    "text": (
        "database_to_xml database_to_xml_and_xmlschema database_to_xmlschema schema_to_xml schema_to_xml_and_xmlschema"
        " schema_to_xmlschema table_to_xml table_to_xml_and_xmlschema table_to_xmlschema"
    ),
    "xid": "pg_current_xact_id txid_current",
    "secret": "pg_stat_get_wal_receiver",
    "server": "pg_config",
    "user-code": (
        "anycompatible_in anycompatiblearray_in anycompatiblemultirange_in anycompatiblenonarray_in anycompatiblerange_in"
        " anymultirange_in anyrange_in array_in domain_in multirange_in pg_input_error_info pg_input_is_valid range_in record_in"
    ),
}


def words(groups: dict[str, str]) -> set[str]:
    return {name for names in groups.values() for name in names.split()}


def of_major(major: int) -> list[BuiltIn]:
    return [each for each in KNOWN if major in each.majors]


@pytest.mark.parametrize("major", MAJORS)
def test_every_function_of_every_major_is_classified(major: int) -> None:
    names = {each.name for each in of_major(major)}
    assert len(names) > 2400
    assert names - SAFE_FUNCTIONS - REFUSED_FUNCTIONS.keys() == set()
    assert {each.name for each in of_major(major) if "v" in each.volatility and each.name in SAFE_FUNCTIONS} <= words(
        VOLATILE_AND_ALLOWED
    )


@pytest.mark.parametrize("major", MAJORS)
def test_every_volatile_function_that_has_no_reason_is_refused(major: int) -> None:
    """By the policy itself, whatever the tables say."""
    policy = Policy(AccessMode.READ_ONLY, server_major=major)
    allowed = words(VOLATILE_AND_ALLOWED) | {"set_config"}
    for each in of_major(major):
        if "v" in each.volatility and each.name not in allowed:
            for text in (f'SELECT "{each.name}"(1)', f'SELECT * FROM pg_catalog."{each.name}"()'):
                assert not judge(text.encode(), policy).allowed, text


def test_the_reasons_are_about_what_is_allowed_and_refused() -> None:
    volatile = {each.name for each in KNOWN if "v" in each.volatility}
    assert volatile & SAFE_FUNCTIONS == words(VOLATILE_AND_ALLOWED) & volatile
    assert words(VOLATILE_AND_ALLOWED) <= SAFE_FUNCTIONS
    quiet = {each.name: REFUSED_FUNCTIONS[each.name] for each in KNOWN if each.name not in volatile | SAFE_FUNCTIONS}
    others = {name: why for name, why in quiet.items() if why != "internal"}
    assert others == {name: why for why, names in QUIET_AND_REFUSED.items() for name in names.split()}


def test_the_list_is_what_the_server_at_hand_has(postgres: Upstream) -> None:
    """Of a major that is not on the list everything is new: write it (tests/policy/builtins.py), and classify what is."""
    with postgres.connect() as connection:
        live = of_server(connection)
    listed = {each.name: each.volatility for each in of_major(postgres.major)}
    assert live.keys() == listed.keys()
    assert all(set(letters) <= set(listed[name]) for name, letters in live.items())


@pytest.mark.skipif(_STUDY is None, reason="PGBASTION_POLICY_STUDY names no folder")
def test_the_study_says_the_same() -> None:
    folder = Path(_STUDY or "")
    names = json.loads((folder / "builtin_names.json").read_text())
    assert set(names["allow"]) <= SAFE_FUNCTIONS
    assert not set(names["deny"]) & SAFE_FUNCTIONS
    assert {name: [count] for name, count in REFUSED_ARGUMENT_COUNTS.items()} == names["allow_except_nargs"]
    with (folder / "functions.csv").open(newline="") as rows:
        found = [row for row in csv.DictReader(rows) if row["where"] == "pg_catalog"]
    blocked = {row["name"] for row in found if row["verdict"] == "block"}
    assert blocked - REFUSED_FUNCTIONS.keys() == set(REFUSED_ARGUMENT_COUNTS) & blocked
    assert {row["name"] for row in found if row["verdict"] == "allow"} - blocked <= SAFE_FUNCTIONS
    assert {row["name"] for row in found} <= {each.name for each in KNOWN}
