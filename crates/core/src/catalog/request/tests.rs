//! Requests: at most once, and always the first answer.

use super::super::fixture::{PLAIN, commit, name, opened, requested};
use super::*;

fn apply(catalog: &mut Catalog, command: &Command) -> Result<Option<Answer>, Refusal> {
    catalog.apply(command, &mut Vec::new()).map(|outcome| outcome.answer)
}

fn remove(text: &str) -> Command {
    Command::RemoveFiles { names: vec![name(text)] }
}

fn rename(from: &str, to: &str) -> Command {
    Command::Rename { from: name(from), to: name(to), replace: false }
}

fn removed(files: u64, bytes: u64) -> Answer {
    Answer::Removed(Gone { files, bytes })
}

fn bytes_of(catalog: &Catalog, text: &str) -> u64 {
    catalog.file(&name(text)).expect("it is there").size
}

#[test]
fn a_repeat_gets_the_first_answer_and_changes_nothing() {
    let mut catalog = opened();
    apply(&mut catalog, &commit(10, "a", PLAIN, 1, 1, false)).expect("free");
    let first = removed(1, bytes_of(&catalog, "a"));
    let request = requested(7, 1, remove("a"), 0);
    assert_eq!(apply(&mut catalog, &request), Ok(Some(first.clone())));
    // Another client stores the name anew; the repeat must leave it alone.
    apply(&mut catalog, &commit(50, "a", PLAIN, 2, 1, false)).expect("free again");
    let before = catalog.clone();
    let mut changes = Vec::new();
    let again = catalog.apply(&request, &mut changes).expect("it was answered before");
    assert_eq!((again.answer, again.removed.len()), (Some(first), 0));
    assert_eq!((changes.len(), &catalog), (0, &before));
}

#[test]
fn a_refusal_is_final_for_its_request() {
    let mut catalog = opened();
    let request = requested(7, 1, rename("a", "b"), 0);
    let answer = apply(&mut catalog, &request).expect("it has an answer");
    assert!(matches!(&answer, Some(Answer::Refused { reaction: Reaction::NotFound, .. })));
    apply(&mut catalog, &commit(10, "a", PLAIN, 1, 1, false)).expect("free");
    assert_eq!(apply(&mut catalog, &request), Ok(answer), "a late repeat moves nothing");
    assert!(catalog.file(&name("a")).is_some());
    let next = requested(7, 2, rename("a", "b"), 0);
    assert_eq!(apply(&mut catalog, &next), Ok(Some(Answer::Renamed)), "a new request may");
}

#[test]
fn a_request_before_the_last_one_is_never_executed() {
    let mut catalog = opened();
    apply(&mut catalog, &commit(10, "a", PLAIN, 1, 1, false)).expect("free");
    apply(&mut catalog, &requested(7, 2, remove("b"), 0)).expect("it has an answer");
    let late = apply(&mut catalog, &requested(7, 1, remove("a"), 0));
    assert!(matches!(late, Err(Refusal::Forgotten(_))), "{late:?}");
    assert!(catalog.file(&name("a")).is_some());
}

#[test]
fn a_removal_in_parts_is_one_request_with_one_sum() {
    let mut catalog = opened();
    for (id, text) in [(10, "d/a"), (50, "d/b"), (90, "d/c")] {
        apply(&mut catalog, &commit(id, text, PLAIN, 1, 1, false)).expect("free");
    }
    let each = bytes_of(&catalog, "d/a");
    let part = |text| match requested(7, 1, remove(text), 0) {
        Command::Requested { request, command, retention, .. } => {
            let answer = Answer::Removing(Gone::default());
            Command::Requested { request, answer, command, retention }
        }
        other => other,
    };
    let so_far = |files: u64| Ok(Some(Answer::Removing(Gone { files, bytes: files * each })));
    assert_eq!(apply(&mut catalog, &part("d/a")), so_far(1));
    let request = RequestId { client: ClientNumber(7), sequence: 1 };
    assert_eq!(catalog.recall(request), Recalled::Open(Gone { files: 1, bytes: each }));
    assert_eq!(apply(&mut catalog, &part("d/a")), so_far(1), "a part that comes twice adds none");
    assert_eq!(apply(&mut catalog, &part("d/b")), so_far(2));
    let last = apply(&mut catalog, &requested(7, 1, remove("d/c"), 0));
    assert_eq!(last, Ok(Some(removed(3, 3 * each))));
    apply(&mut catalog, &commit(130, "d/a", PLAIN, 1, 1, false)).expect("free again");
    assert_eq!(apply(&mut catalog, &part("d/a")), Ok(Some(removed(3, 3 * each))));
    assert!(catalog.file(&name("d/a")).is_some(), "what came after the last part stays");
}

#[test]
fn answers_are_dropped_after_an_hour_or_when_there_are_too_many() {
    let mut catalog = opened();
    let ask = |client, at_s| requested(client, 1, remove("x"), at_s);
    for client in 1..=3 {
        apply(&mut catalog, &ask(client, client)).expect("it has an answer");
    }
    assert_eq!(catalog.answers_kept(), 3);
    // Three are the most: the one that asked longest ago goes.
    apply(&mut catalog, &ask(5, 5)).expect("it has an answer");
    assert_eq!(catalog.answers_kept(), 3);
    let forgotten = |answer| matches!(answer, Err(Refusal::Forgotten(_)));
    assert!(forgotten(apply(&mut catalog, &ask(1, 6))));
    assert_eq!(apply(&mut catalog, &ask(2, 6)), Ok(Some(removed(0, 0))), "2 is still known");
    let tick = |uptime_s| Command::KeepTime { retention: Retention { uptime_s, answers_max: 3 } };
    apply(&mut catalog, &tick(2 + ANSWER_KEPT_S)).expect("always");
    assert_eq!((catalog.answers_kept(), catalog.uptime_s()), (2, 2 + ANSWER_KEPT_S));
    assert!(forgotten(apply(&mut catalog, &ask(2, 2 + ANSWER_KEPT_S))));
    assert_eq!(apply(&mut catalog, &ask(4, 4000)), Ok(Some(removed(0, 0))), "4 never asked");
    apply(&mut catalog, &tick(9000)).expect("always");
    assert!(forgotten(apply(&mut catalog, &ask(3, 9000))), "forgotten with those after it");
    let kept = catalog.clone();
    apply(&mut catalog, &tick(9001)).expect("always");
    assert_eq!(catalog, kept, "an idle catalog does not write its time down");
}

#[test]
fn numbers_that_were_never_handed_out_are_refused() {
    let mut catalog = opened();
    for (client, sequence) in [(0, 1), (100_000, 1), (7, 0)] {
        let answer = apply(&mut catalog, &requested(client, sequence, remove("a"), 0));
        assert!(matches!(answer, Err(Refusal::BadRequest(_))), "{answer:?}");
    }
    let nested = requested(7, 1, requested(8, 1, remove("a"), 0), 0);
    assert!(matches!(apply(&mut catalog, &nested), Err(Refusal::BadRequest(_))));
}

#[test]
fn the_running_time_is_noted_with_the_first_answer_after_a_quiet_time() {
    let mut catalog = opened();
    apply(&mut catalog, &requested(7, 1, remove("a"), 100_000)).expect("it has an answer");
    assert_eq!(catalog.uptime_s(), 100_000);
}
