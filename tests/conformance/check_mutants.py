#!/usr/bin/env python3
"""Tests the conformance suite: stores with one mistake each must not pass it.

  check_mutants.py PROGRAM SOURCE   PROGRAM: mutants_test; SOURCE: mutant_store.h

Runs, for each mistake that mutant_store.h can make, the one test of the suite that must notice
it, and prints both. Fails if a mistake is not noticed, if the program ends in another way than
by a failed test, or if a message is long.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

NOTICED_BY = {
    "add_changes_the_lifetime": "AddLeavesTheLifetimeOfALiveEntry",
    "add_is_two_steps": "OneOfManyAddsWins",
    "add_leaves_expired": "AnExpiredEntryIsAbsentForEveryOperation",
    "add_throws_in_threads": "OneOfManyAddsWins",
    "cannot_count": "NoIncrementIsLostBetweenThreads",
    "clear_leaves_the_last": "ClearRemovesEverything",
    "compare_creates": "CompareChangesOnlyWhatIsExpected",
    "compare_finds_expired": "AnExpiredEntryIsAbsentForEveryOperation",
    "compare_ignores_the_expected": "CompareChangesOnlyWhatIsExpected",
    "compare_is_two_steps": "OneOfManyComparesWins",
    "compare_looks_at_the_beginning": "CompareChangesOnlyWhatIsExpected",
    "compare_loses_the_lifetime": "CompareChangesOnlyWhatIsExpected",
    "contains_calls_the_sink_twice": "ASinkIsCalledOnceForEachLiveEntry",
    "contains_finds_expired": "AnExpiredEntryIsAbsentForEveryOperation",
    "contains_shows_the_tail": "ContainsShowsTheHeadOfTheValue",
    "contains_shows_too_little": "ContainsShowsTheHeadOfTheValue",
    "counts_expired_as_live": "MaintenanceCountsEntriesAndRemovesExpiredOnes",
    "deque_erasure_erases_all_deques": "ADequeIsErasedAsAWhole",
    "deque_front_keeps_the_order": "SeveralValuesAreAddedOneAfterTheOther",
    "deque_has_one_end": "ADequeGivesItsValuesFromBothEnds",
    "deque_limit_drops_what_is_new": "ALimitedDequeDropsValuesFromItsOtherEnd",
    "deque_limit_is_ignored": "ALimitedDequeDropsValuesFromItsOtherEnd",
    "deque_pages_begin_at_the_front": "APageOfADequeHasTheValuesFromAPlaceOn",
    "deque_places_begin_at_the_front": "APlaceInADequeCountsFromEitherEnd",
    "deque_pop_is_two_steps": "ThreadsPopEachValueOnce",
    "deque_rotates_the_other_way": "RotatingADequeMovesValuesFromOneEndToTheOther",
    "empty_value_is_a_miss": "ValuesAreAnyBytes",
    "erase_finds_expired": "AnExpiredEntryIsAbsentForEveryOperation",
    "erase_is_always_true": "EraseSaysWhetherThereWasALiveEntry",
    "erase_is_two_steps": "OneOfManyErasesAndPopsWins",
    "erase_many_counts_expired": "AnExpiredEntryIsAbsentForEveryOperation",
    "erase_many_counts_one_key_twice": "EraseManyOfOneKeyTwiceCountsOne",
    "erase_pattern_counts_expired": "ScanListsNoExpiredEntry",
    "erase_pattern_takes_a_prefix": "ErasePatternRemovesExactlyWhatMatches",
    "erase_prefix_ends_at_a_high_byte": "ErasePrefixRemovesExactlyThoseKeys",
    "erase_prefix_takes_a_pattern": "ErasePrefixRemovesExactlyThoseKeys",
    "erase_prefix_takes_too_much": "ErasePrefixRemovesExactlyThoseKeys",
    "every_extension_is_there": "AnUnknownExtensionIsNull",
    "expire_removes_live_ones": "MaintenanceCountsEntriesAndRemovesExpiredOnes",
    "get_calls_the_sink_twice": "ASinkIsCalledOnceForEachLiveEntry",
    "get_many_finds_expired": "AnExpiredEntryIsAbsentForEveryOperation",
    "get_many_mixes_up_indexes": "GetManyAnswersInTheOrderOfTheKeys",
    "get_many_skips_duplicates": "GetManyAnswersOneKeyAsOftenAsItIsAsked",
    "gone_a_moment_early": "AnEntryLivesForItsTimeout",
    "incr_creates": "AnAbsentKeyIsAMissOfEveryOperation",
    "incr_is_two_steps": "NoIncrementIsLostBetweenThreads",
    "incr_loses_the_lifetime": "CountingKeepsTheLifetime",
    "incr_takes_text_for_zero": "CountingAnotherValueIsAValueErrorAndKeepsIt",
    "incr_wraps": "CountersHave64SignedBitsAndNeverWrap",
    "index_erase_leaves_the_item": "AnIndexKeepsWhatWasPutUntilItIsErased",
    "index_find_calls_the_sink_twice": "AnIndexKeepsWhatWasPutUntilItIsErased",
    "index_has_any_type": "AnIndexOfAnotherTypeIsRefused",
    "index_is_by_key_only": "AnIndexByInsertionKeepsThePositionOfAKey",
    "index_lists_forwards_only": "AnIndexListsRangesFromBothEndsInPages",
    "index_put_has_one_mode": "PuttingIntoAnIndexHasModes",
    "index_put_is_two_steps": "OneOfManyThreadsInsertsAKeyIntoAnIndex",
    "index_put_moves_to_the_end": "AnIndexByInsertionKeepsThePositionOfAKey",
    "index_range_includes_its_end": "AnIndexListsRangesFromBothEndsInPages",
    "index_says_that_it_is_evicted": "AStoreSaysWhetherItKeepsIndexes",
    "index_says_that_there_is_no_more": "AnIndexListsRangesFromBothEndsInPages",
    "index_take_is_two_steps": "EachItemOfAnIndexIsTakenByOneOfManyThreads",
    "keys_are_a_hash_of_16_bits": "ThousandsAtOnce",
    "keys_end_after_100_bytes": "LongKeysThatDifferInOneByteAreDifferent",
    "keys_end_after_255_bytes": "LongKeysThatDifferInOneByteAreDifferent",
    "keys_end_at_a_zero_byte": "KeysAreBytesAndNothingIsSpecial",
    "keys_ignore_case": "KeysAreBytesAndNothingIsSpecial",
    "keys_lose_blanks_at_the_end": "KeysAreBytesAndNothingIsSpecial",
    "large_values_lose_a_byte": "AValueOfAMebibyteIsKept",
    "lives_in_whole_seconds": "AnEntryLivesForItsTimeout",
    "limit_counts_a_question": "AskingAboutALimitChangesNothing",
    "limit_forgets_what_it_refuses": "UsesOfALimitFollowTheArithmetic",
    "limit_ignores_the_cost": "UsesOfALimitFollowTheArithmetic",
    "limit_is_never_forgotten": "AForgottenLimitBeginsAnew",
    "limit_is_two_steps": "ThreadsTogetherUseNoMoreThanALimit",
    "lock_end_is_ignored": "ALockEndsWithItsLease",
    "lock_fences_repeat": "FencesGrowWithEachOwner",
    "lock_has_one_place": "ALockHasNoMoreHoldersThanPermits",
    "lock_is_two_steps": "OneOfManyTakesALock",
    "lock_release_frees_another": "AnotherTokenNeitherRenewsNorReleasesALock",
    "lock_renews_what_has_ended": "ALockEndsWithItsLease",
    "lock_renewal_changes_nothing": "ARenewedLockLastsLonger",
    "lock_says_that_it_is_evicted": "AStoreSaysWhetherItKeepsLocks",
    "lock_wait_is_forever": "WaitingForALockEndsAtItsLimit",
    "long_lifetimes_wrap": "NeverAndLongTimeoutsAreKept",
    "no_lock": "NoIncrementIsLostBetweenThreads",
    "offers_an_extension_that_no_list_has": "OffersNoExtensionThatTheListLacks",
    "pop_calls_the_sink_twice": "ASinkIsCalledOnceForEachLiveEntry",
    "pop_is_two_steps": "OneOfManyErasesAndPopsWins",
    "pop_leaves_the_entry": "PopReadsAndRemoves",
    "put_many_erases_refused_at_the_end":
        "ARefusedValueInABulkWriteOfOneKeyTwiceIsAsOneAfterAnother",
    "put_many_gives_all_one_lifetime": "PutManyNamesWhatWasNotStored",
    "put_many_ignores_failures": "PutManyNamesWhatWasNotStored",
    "put_many_keeps_the_first_of_one_key": "SetManyOfOneKeyTwiceKeepsTheLastValue",
    "refused_is_called_stored": "ARefusedValueIsNotStoredAndTheOlderOneIsGone",
    "refused_keeps_the_older": "ARefusedValueIsNotStoredAndTheOlderOneIsGone",
    "refused_without_a_warning": "ARefusedValueIsNotStoredAndTheOlderOneIsGone",
    "renew_calls_the_sink_twice": "RenewReadsAndGivesANewLifetime",
    "renew_creates": "RenewReadsAndGivesANewLifetime",
    "renew_keeps_the_lifetime": "RenewReadsAndGivesANewLifetime",
    "renew_revives_expired": "RenewReadsAndGivesANewLifetime",
    "replace_creates": "IfPresentReplacesOnlyWhatIsThere",
    "replace_finds_expired": "AnExpiredEntryIsAbsentForEveryOperation",
    "replace_keeps_the_lifetime": "IfPresentReplacesOnlyWhatIsThere",
    "scan_counts_its_place": "TheLoopOfAScanMayEraseAndWrite",
    "scan_ends_after_a_page": "ScanFindsEveryOneOfThousandsInPages",
    "scan_lists_expired": "ScanListsNoExpiredEntry",
    "scan_reports_no_size": "ScanReportsFinalKeySizeAndLifetime",
    "scan_says_forever": "ScanReportsFinalKeySizeAndLifetime",
    "scan_takes_a_prefix": "ScanListsTheKeysThatMatch",
    "session_remembers_what_it_read": "WhatOneSessionWritesAnotherReadsAtOnce",
    "sessions_share_nothing": "ThreadsHaveCachesOfTheirOwnAndOneStore",
    "set_keeps_the_old_lifetime": "SetGivesANewLifetime",
    "sink_under_the_lock": "CodecsMayUseTheCacheTheyServe",
    "tag_index_cannot_be_dropped": "TheIndexOfTagsIsOffUntilItIsMade",
    "tag_index_counts_expired": "AnEntryThatNoLongerCarriesATagIsNotRemovedWithIt",
    "tag_index_has_old_rows": "AnEntryThatNoLongerCarriesATagIsNotRemovedWithIt",
    "tag_index_only_counts": "EraseTagRemovesAndCountsTheEntriesOfTheIndex",
    "tag_stamp_has_ended_versions":
        "AStampOfTagsDiffersOnceTheStoreSaysThatAVersionHasEnded",
    "tag_stamp_has_no_values": "AStampOfTagsDiffersOnceAVersionIsGone",
    "tag_stamp_is_new_each_time": "AStampOfTagsStaysTheSameWhileEntriesAreRead",
    "tag_stamp_never_changes": "AStampOfTagsDiffersOnceAVersionIsGone",
    "touch_creates": "AnAbsentKeyIsAMissOfEveryOperation",
    "touch_empties": "TouchGivesANewLifetime",
    "touch_keeps_the_lifetime": "TouchGivesANewLifetime",
    "touch_revives_expired": "AnExpiredEntryIsAbsentForEveryOperation",
    "touch_shows_10_bytes": "TouchShowsTheHeadOfTheValue",
    "touch_shows_no_head": "TouchShowsTheHeadOfTheValue",
    "touch_says_false_without_a_lifetime": "TouchGivesANewLifetime",
    "ttl_finds_expired": "AnExpiredEntryIsAbsentForEveryOperation",
    "ttl_is_the_whole_lifetime": "TtlReportsTheRemainingLifetime",
    "ttl_of_many_is_forever": "TtlReportsTheRemainingLifetime",
    "values_end_at_a_zero_byte": "ValuesAreAnyBytes",
}

# What a message must say, where the failure of an expectation is not all there is.
SAYS = {
    "add_throws_in_threads": "I am a mutant",
    "cannot_count": "this store cannot count",
    "no_lock": "this store fails with several threads",
    "sink_under_the_lock": "watchdog: the test",
}

MOST_OUTPUT = 50_000  # bytes


def problem_of(program, mutant):
    """What is wrong with how the suite took it, or nothing."""
    test = f"Mutant/BackendConformance.{NOTICED_BY[mutant]}/AlonePlain"
    done = subprocess.run([program, f"--gtest_filter={test}"], capture_output=True, timeout=300,
                          env={**os.environ, "POLYCACHE_MUTANT": mutant})
    output = (done.stdout + done.stderr).decode(errors="replace")
    failed = f"[  FAILED  ] {test}" in output and done.returncode == 1
    stopped = "watchdog: the test" in output and f"{NOTICED_BY[mutant]}/AlonePlain" in output
    if not (stopped if mutant == "sink_under_the_lock" else failed):
        return f"not noticed; exit status {done.returncode}\n{output[-4000:]}"
    if SAYS.get(mutant, "") not in output:
        return f"the message does not say: {SAYS[mutant]}\n{output[-4000:]}"
    if len(output) > MOST_OUTPUT:
        return f"the message has {len(output)} bytes"
    return None


def main():
    program, source = sys.argv[1:]
    known = set(re.findall(r'makes\("(\w+)"\)', pathlib.Path(source).read_text(encoding="utf-8")))
    problems = [f"{name}: only in one of {source} and this file"
                for name in sorted(known ^ set(NOTICED_BY))]
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        mutants = sorted(NOTICED_BY)
        for mutant, problem in zip(mutants, pool.map(lambda m: problem_of(program, m), mutants)):
            print(f"{mutant:36} {'NOT NOTICED' if problem else NOTICED_BY[mutant]}")
            if problem:
                problems.append(f"{mutant}: {problem}")
    print(f"{len(NOTICED_BY)} mutants in {time.monotonic() - begin:.1f} s")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
