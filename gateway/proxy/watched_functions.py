"""Functions of which the role audit asks who may call them: the policy refuses them, and the right alone is enough to do harm."""

from typing import Final

from gateway.statements.catalogue import REFUSED_FUNCTIONS

# Their rights alone do not suffice: they look for ownership, REPLICATION or a superuser themselves, or do next to nothing.
_GUARDED: Final = frozenset(
    {
        "brin_desummarize_range",
        "brin_summarize_new_values",
        "brin_summarize_range",
        "gin_clean_pending_list",
        "nextval",
        "pg_available_wal_summaries",
        "pg_clear_attribute_stats",
        "pg_clear_relation_stats",
        "pg_copy_logical_replication_slot",
        "pg_copy_physical_replication_slot",
        "pg_create_logical_replication_slot",
        "pg_create_physical_replication_slot",
        "pg_drop_replication_slot",
        "pg_extension_config_dump",
        "pg_get_loaded_modules",
        "pg_import_system_collations",
        "pg_logical_slot_get_binary_changes",
        "pg_logical_slot_get_changes",
        "pg_logical_slot_peek_binary_changes",
        "pg_logical_slot_peek_changes",
        "pg_nextoid",
        "pg_read_file_old",
        "pg_replication_slot_advance",
        "pg_restore_attribute_stats",
        "pg_restore_relation_stats",
        "pg_rotate_logfile_old",
        "pg_stat_force_next_flush",
        "pg_stat_get_wal_receiver",
        "pg_stop_making_pinned_objects",
        "pg_sync_replication_slots",
        "pg_wal_summary_contents",
        "setval",
    }
)
_OTHER_REASONS: Final = frozenset({"internal", "user-code", "setting", "statistics"})
WATCHED_FUNCTIONS: Final = {
    name: why
    for name, why in REFUSED_FUNCTIONS.items()
    if why not in _OTHER_REASONS and name not in _GUARDED and not name.startswith("binary_upgrade_")
}
"""Built-in and extension functions whose EXECUTE right is enough to do what the policy refuses them for: name, key of WHY."""
