"""The failure scenarios that Zart must survive, S01 to S52, and what proves each of them."""

from tests.conformance.covered import Covered


def _span(letter: str, first: int, last: int, marks: str = "") -> tuple[str, ...]:
    return tuple(f"{letter}-{n}{mark}" for n in range(first, last + 1) for mark in marks or ("",))


_SIMULATION = "tests/simulation/test_simulation.py::test_nothing_breaks_a_promise"
_PLANTED = "tests/simulation/test_simulation.py::test_a_planted_bug_is_caught"
_CONNECTIONS = "tests/contract/test_server_connections.py::"
_SQLITE = "tests/unit/test_sqlite_"
_LOCKS = "tests/contract/test_postgres_locks.py::"

COVERED: dict[str, Covered] = {
    "S01": Covered(
        "two workers claim one execution",
        (
            "tests/chaos/test_many_workers.py::test_claims_are_disjoint",
            "contract::test_rule_2_no_execution_goes_to_two_callers",
        ),
    ),
    "S02": Covered(
        "a worker is slow, another takes over, and the first wakes up and writes",
        (
            "tests/chaos/test_stalls.py::test_a_stopped_worker_writes_nothing_drops_what_it_holds_and_joins_again",
            "tests/runtime/test_interleavings.py::test_a_takeover_while_a_flush_is_in_flight_loses_the_old_workers_words",
            _SIMULATION,
        ),
        _span("A", 1, 6, "ab"),
    ),
    "S03": Covered(
        "a sign of life takes the lease back",
        (
            "contract::test_rule_7_who_was_declared_dead_learns_so_and_stays_dead",
            "tests/runtime/test_interleavings.py::test_a_worker_that_wakes_after_three_leases_writes_nothing_and_joins_again",
            _PLANTED,
        ),
    ),
    "S04": Covered(
        "a token that was given before is given again",
        (
            "contract::test_rule_3_an_old_fence_is_lost_though_nothing_else_has_changed",
            "contract::test_rule_1_the_fence_goes_on_over_runs",
            _SIMULATION,
        ),
        _span("A", 1, 6, "b"),
    ),
    "S05": Covered(
        "the end is not saved because the worker dies over it, and the execution runs for ever",
        ("tests/chaos/test_kills.py::test_workers_are_killed_at_any_moment",),
        ("B-6a", "B-6b"),
    ),
    "S06": Covered(
        "a worker takes its own repeated write for somebody else's",
        (
            "contract::test_rule_3_and_10_a_move_repeated_after_a_lost_reply_was_applied",
            _CONNECTIONS + "test_a_commit_whose_reply_is_lost_is_said_again_and_counts_once",
        ),
        _span("C", 1, 6),
    ),
    "S07": Covered(
        "a worker takes over what it runs itself, or has the name of another",
        (
            "contract::test_rule_7_the_living_keep_what_they_run",
            "tests/runtime/test_lost_claims.py::test_while_a_claim_is_in_flight_nothing_is_handed_back",
            "tests/chaos/test_leaving.py::test_under_load_nothing_that_was_begun_is_begun_again",
        ),
    ),
    "S08": Covered(
        "user code blocks the loop, and the signs of life with it",
        ("tests/runtime/test_worker.py::test_a_blocking_step_keeps_its_lease_and_is_named",),
    ),
    "S09": Covered(
        "signs of life keep a body alive that hangs",
        (
            "tests/runtime/test_worker.py::test_a_step_that_never_returns_times_out",
            "contract::test_rule_7_long_past_its_deadline_an_execution_is_taken_from_the_living",
        ),
        ("I-10",),
    ),
    "S10": Covered(
        "an execution kills its worker, again and again",
        (
            "tests/chaos/test_kills.py::test_an_execution_that_kills_its_workers_is_given_up_and_its_neighbours_are_not",
            "tests/runtime/test_worker.py::test_a_poison_execution_fails_with_the_list_of_its_workers",
        ),
        ("B-9", "B-10"),
    ),
    "S11": Covered(
        "one bad row stops everybody",
        (
            "contract::test_rule_9_a_record_that_cannot_be_held_stops_no_other",
            "contract::test_rule_9_a_move_that_cannot_be_held_stops_no_other",
            "tests/runtime/test_hostile_code.py::test_one_claim_that_cannot_start_does_not_strand_its_batch",
            _SQLITE + "writer.py::test_one_bad_call_stops_none_of_those_that_share_its_batch",
        ),
    ),
    "S12": Covered(
        "a worker does not know the task",
        (
            "tests/runtime/test_refusals.py::test_a_task_that_nobody_has_registered_stays_and_says_so",
            "contract::test_rule_2_a_task_nobody_asks_for_holds_nobody_up",
        ),
        ("I-8",),
    ),
    "S13": Covered("what runs is collected as garbage", scenarios=("B-13",)),
    "S14": Covered(
        "an error of the user's is taken for the engine's, and the other way round",
        (
            "tests/chaos/test_user_errors.py::test_whatever_a_step_raises_it_fails_once",
            "tests/runtime/test_transactions.py::test_an_error_of_the_database_over_the_users_statement_is_the_steps_own",
        ),
        ("G-21", "J-2"),
    ),
    "S15": Covered(
        "a replay takes the saved outcome of another operation",
        ("tests/runtime/test_interleavings.py::test_changed_code_is_found_out_and_healed",),
        tuple(f"H-1.{old}.{new}" for old, new in (("sleep", "step"), ("event", "step"), ("step", "sleep"), ("random", "now"))),
    ),
    "S16": Covered(
        "code is deployed while executions are in flight",
        ("tests/runtime/test_replay_check.py::test_a_name_that_changes_is_a_divergence",),
        ("H-2.1", "H-2.2", "H-2.3", "H-2.4", "H-2.5", "H-3", "H-4", "H-5"),
        later="code versions, `patched`, and the replay of stored histories",
    ),
    "S17": Covered(
        "branches of one execution race for their identity",
        (
            "tests/runtime/test_random_bodies.py::test_random_bodies_replay_as_they_ran",
            "tests/runtime/test_refusals.py::test_a_second_use_of_a_step_name_is_refused",
        ),
        ("8-11", "8-23", "9-11", "9-21", "H-6"),
    ),
    "S18": Covered(
        "what is deleted is deleted by half, or its results come back in the next life of its id",
        ("contract::test_rule_1_a_new_run_starts_from_nothing_and_the_old_one_is_kept",),
        _span("K", 1, 7),
        later="deleting what has ended",
    ),
    "S19": Covered(
        "an event comes before the wait, or while the body leaves memory",
        (
            "tests/chaos/test_locks.py::test_an_event_waits_for_a_parking_in_flight_and_makes_it_due",
            "contract::test_rule_8_mail_against_parking_is_never_slept_through",
            _SIMULATION,
        ),
        ("D-1", "D-2.1.before", "D-2.1.after", "D-2.2.before", "D-2.2.after", "D-3"),
    ),
    "S20": Covered(
        "the hint is lost",
        (
            "tests/contract/test_postgres_hints.py::test_a_listener_that_is_cut_off_listens_again_and_looks",
            "tests/contract/test_postgres_hints.py::test_without_listening_a_wait_ends_by_itself_and_a_look_finds_it",
        ),
    ),
    "S21": Covered(
        "an event is acknowledged and then dropped",
        (
            "contract::test_rule_5_mail_is_kept_in_the_order_of_arrival",
            "contract::test_rules_5_and_10_a_repeated_event_is_a_duplicate_even_after_the_end",
            _SIMULATION,
        ),
        ("A-10", "C-8", "D-7", "D-9"),
    ),
    "S22": Covered(
        "two waits for one event",
        ("tests/runtime/test_interleavings.py::test_two_branches_share_one_event_first_come_first_served",),
        ("D-8",),
        later="topics, whose events come to every execution that waits",
    ),
    "S23": Covered(
        "an event comes while the execution ends",
        (
            "contract::test_rule_5_a_finished_execution_takes_none",
            "tests/runtime/test_interleavings.py::test_a_timeout_saved_first_stays_and_a_later_event_is_left",
        ),
        ("D-4", "D-5"),
    ),
    "S24": Covered(
        "a cancel races the end",
        (
            "tests/chaos/test_locks.py::test_a_cancel_waits_for_an_end_in_flight_and_finds_it_ended",
            "contract::test_rule_8_cancelling_against_commits_leaves_one_truth",
        ),
        (*_span("E", 1, 6, "ab"), "E-14"),
    ),
    "S25": Covered(
        "a running body does not learn of its cancel",
        (
            "tests/runtime/test_worker.py::test_cancel_reaches_a_running_body",
            "tests/unit/test_sqlite_processes.py::test_a_cancel_elsewhere_wakes_the_worker_that_holds_it",
        ),
        _span("E", 7, 13),
        later="executions that are children of others",
    ),
    "S26": Covered(
        "durations that are long or odd",
        (
            "tests/unit/test_vocabulary.py::test_a_hundred_years_are_taken",
            "tests/unit/test_vocabulary.py::test_bad_durations_are_refused",
            "tests/runtime/test_refusals.py::test_bad_durations_fail_the_body_with_one_error",
        ),
        tuple(f"F-7.{n}" for n in range(1, 7)) + tuple(f"F-10.{n}" for n in range(1, 6)),
    ),
    "S27": Covered(
        "many timers, many workers, all at one moment",
        (
            "tests/runtime/test_worker.py::test_an_idle_worker_says_no_more_than_its_beats_and_polls",
            "contract::test_rule_7_one_beat_takes_over_one_batch_in_id_order",
            "tests/chaos/test_many_workers.py::test_a_worker_claims_no_more_than_it_has_room_for_and_the_rest_is_there_for_others",
        ),
        ("I-6", "I-7"),
    ),
    "S28": Covered(
        "clocks that disagree, or jump",
        (
            "tests/unit/test_storage_time.py::test_it_follows_a_storage_whose_clock_was_set_back",
            "tests/contract/test_postgres_hints.py::test_due_times_are_the_servers",
            "contract::test_rule_7_a_lease_absurdly_far_in_the_future_counts_as_passed",
            _SIMULATION,
        ),
        _span("F", 1, 6),
    ),
    "S29": Covered("schedules at the change of clocks", later="schedules"),
    "S30": Covered(
        "a reader of what happens skips what becomes visible late",
        ("tests/http/test_streams.py::test_a_line_that_becomes_visible_later_is_waited_for_and_not_left_out",),
    ),
    "S31": Covered(
        "nobody knows whether it was committed",
        (
            _CONNECTIONS + "test_other_operations_whose_reply_is_lost_answer_as_if_it_were_not",
            _CONNECTIONS + "test_a_claim_whose_reply_is_lost_is_handed_back_by_a_later_beat",
            "tests/chaos/test_transactions.py::test_a_connection_cut_over_commit",
            _SIMULATION,
        ),
        _span("C", 1, 11),
    ),
    "S32": Covered("a connection goes silent", (_CONNECTIONS + "test_a_server_that_goes_silent_is_given_up_in_time",)),
    "S33": Covered(
        "the database is killed and comes back",
        (
            "tests/chaos/test_outages.py::test_a_server_that_crashes_under_load_and_comes_back",
            "tests/chaos/test_outages.py::test_after_an_outage_longer_than_the_lease_nobody_is_declared_dead",
            "tests/contract/test_postgres_schema.py::test_what_is_acknowledged_is_on_the_disk_whatever_the_database_is_set_to",
            _SQLITE + "processes.py::test_a_killed_process_loses_nothing_that_it_was_told_is_written",
        ),
        ("J-1", "J-6"),
    ),
    "S34": Covered(
        "the database fails over, and connections lead to what can only be read",
        (_CONNECTIONS + "test_every_connection_may_be_ended_at_any_moment",),
        _span("J", 2, 7),
    ),
    "S35": Covered(
        "connections run out",
        (
            _CONNECTIONS + "test_calls_take_turns_over_few_connections",
            _CONNECTIONS + "test_a_call_that_is_given_up_leaves_its_turn_to_others",
            "tests/http/test_limits.py::test_a_place_is_given_back_whatever_happens",
        ),
    ),
    "S36": Covered(
        "a pooler stands before the database",
        ("tests/cli/test_postgres.py::test_behind_a_pooler_and_without_listen_work_is_found_all_the_same",),
    ),
    "S37": Covered(
        "deadlocks by the order of locks",
        (
            "tests/chaos/test_locks.py::test_everybody_at_once_in_every_order",
            _LOCKS + "test_rows_are_locked_in_the_order_of_their_keys_whatever_is_named_first",
            "contract::test_rule_8_callers_that_name_the_same_rows_in_any_order_all_get_answers",
        ),
    ),
    "S38": Covered(
        "what MariaDB does by default; of it, here: keys that differ in case, accent or blanks",
        (
            "contract::test_rule_1_ids_are_told_apart_to_the_last_character",
            "contract::test_rule_1_keys_are_told_apart_to_the_last_character",
        ),
    ),
    "S39": Covered(
        "SQLite with many writers",
        (
            _SQLITE + "processes.py::test_two_workers_never_get_the_same_execution",
            _SQLITE + "processes.py::test_an_open_transaction_elsewhere_is_waited_for",
            _SQLITE + "writer.py::test_a_number_too_large_for_sqlite_is_refused",
        ),
    ),
    "S40": Covered(
        "a snapshot is held, and nothing is cleaned up behind it",
        ("tests/chaos/test_connections.py::test_a_held_snapshot_costs_the_workers_no_row_per_step",),
    ),
    "S41": Covered("the disk is full", (_SQLITE + "files.py::test_a_full_disk_is_told",), ("J-3", "J-8")),
    "S42": Covered(
        "notifications are too large, or too many",
        (
            "tests/contract/test_postgres_hints.py::test_more_ends_than_a_notification_holds_are_heard_of",
            "tests/contract/test_postgres_hints.py::test_notifications_are_sent_one_at_a_time_with_all_that_has_happened_meanwhile",
        ),
    ),
    "S43": Covered(
        "connections are shared over a fork",
        (
            _SQLITE + "forks.py::test_in_a_child_of_one_that_had_it_open_everything_says_what_to_do",
            _SQLITE + "forks.py::test_what_was_closed_at_the_fork_is_opened_in_the_child",
        ),
    ),
    "S44": Covered(
        "NUL, lone surrogates, what is no number",
        (
            "tests/runtime/test_value_matrix.py::test_hostile_values_come_back_from_everywhere",
            "tests/runtime/test_value_matrix.py::test_any_value_of_any_type_comes_back_from_everywhere",
            "tests/runtime/test_interleavings.py::test_hostile_error_texts_are_recorded_failures",
        ),
        _span("G", 1, 14),
    ),
    "S45": Covered(
        "values that are too large, too deep, too long",
        (
            "tests/runtime/test_value_matrix.py::test_a_value_may_be_as_large_as_the_limit_and_no_larger",
            "tests/unit/test_codec.py::test_nesting_goes_500_levels_deep_and_no_further",
            "tests/runtime/test_interleavings.py::test_a_result_that_is_too_large_is_final",
        ),
        _span("I", 1, 5),
    ),
    "S46": Covered(
        "exceptions of every shape",
        (
            "tests/unit/test_outcome.py::test_whatever_comes_in_is_saved",
            "tests/runtime/test_interleavings.py::test_nothing_that_user_code_raises_ends_the_worker",
            "tests/runtime/test_values.py::test_declared_errors_come_back_as_themselves",
        ),
        _span("G", 13, 22),
    ),
    "S47": Covered(
        "times without a zone, and zones",
        (
            "tests/runtime/test_value_matrix.py::test_times_come_back_wherever_the_process_lives",
            "tests/runtime/test_value_matrix.py::test_instants_are_those_that_were_meant_wherever_the_process_lives",
            "tests/runtime/test_refusals.py::test_a_naive_datetime_is_refused",
        ),
    ),
    "S48": Covered(
        "delays that overflow",
        ("tests/unit/test_vocabulary.py::test_delays_never_overflow_and_never_shrink",),
    ),
    "S49": Covered(
        "a migration waits behind traffic, or meets another",
        (
            "tests/contract/test_postgres_schema.py::test_a_migration_waits_its_turn_but_not_for_ever",
            "tests/contract/test_server_schema.py::test_ten_at_once_migrate_it_once",
            "tests/contract/test_server_schema.py::test_a_newer_database_is_refused_with_both_versions",
            _SQLITE + "processes.py::test_processes_that_migrate_at_once_do_it_once",
        ),
    ),
    "S50": Covered(
        "a worker is asked to stop",
        (
            "tests/cli/test_processes.py::test_a_stopped_worker_lets_work_finish_or_hands_it_back_at_once",
            "tests/chaos/test_leaving.py::test_what_cannot_end_in_time_is_handed_back_at_once_and_counts_no_crash",
        ),
        ("B-11",),
    ),
    "S51": Covered(
        "one start, said many times",
        (
            "tests/http/test_executions.py::test_the_same_start_again_is_the_same_start_even_after_the_end",
            "tests/http/test_executions.py::test_a_key_is_not_given_to_other_work",
            "tests/runtime/test_callers_transactions.py::test_a_rollback_leaves_nothing",
            "contract::test_rule_1_one_start_twice_in_one_call_is_one",
        ),
        ("C-7", "J-7", "K-3", "K-4", "K-5"),
    ),
    "S52": Covered("what belongs to another tenant is read by its id", later="namespaces"),
}
"""Those without a test are later work as a whole."""
