//! Requests, as seen from outside: whatever the coordinator answers to one, it
//! must answer to every repeat of it, also after it started anew.

use dfs_core::api::{Kind, Result};
use dfs_core::id::RequestId;

use super::Net;
use super::path::Path;

/// A request on its way. Its repeats are other ones with the same id.
#[derive(Clone)]
pub(super) struct Asked {
    net: Net,
    /// Who is asked.
    by: u32,
    request: Option<RequestId>,
}

impl Path {
    pub(super) fn request(&self, request: Option<RequestId>) -> Asked {
        Asked { net: self.net().clone(), by: self.to().number, request }
    }
}

impl Asked {
    /// The coordinator has an answer, which may be lost on its way back.
    pub(super) fn answered<T>(
        self,
        result: Result<T>,
        in_short: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let Some(request) = self.request else { return result };
        let said = match &result {
            Ok(answer) => in_short(answer),
            Err(error) => match error.kind {
                // These say nothing of what became of the change.
                Kind::Unavailable | Kind::NotKnown | Kind::Forgotten | Kind::Internal => {
                    return result;
                }
                // A full disk keeps no refusals. A repeat finds no upload.
                Kind::NoSpace => return result,
                kind => format!("{kind:?}"),
            },
        };
        self.net.note_answer(self.by, request, said);
        result
    }
}

impl Net {
    /// Repeats of requests that were answered otherwise than the first time,
    /// since this was asked last.
    #[must_use]
    pub fn take_changed_answers(&self) -> Vec<String> {
        std::mem::take(&mut self.state().changed_answers)
    }

    /// Forgets all answers: another catalog is served from now on.
    pub(crate) fn forget_answers(&self) {
        self.state().answers.clear();
    }

    fn note_answer(&self, by: u32, request: RequestId, said: String) {
        let mut state = self.state();
        match state.answers.get(&(by, request)) {
            Some(first) if *first != said => {
                let text = format!("request {request} was answered {first:?}, and again {said:?}");
                state.changed_answers.push(text);
            }
            Some(_) => {}
            None => drop(state.answers.insert((by, request), said)),
        }
    }
}
