//! Who hears what filters decide.

use std::fmt;

use crate::l7::answer::Answer;

/// Hears what each filter decides, in order. The front does not listen; whoever explains a request does.
pub trait Audience {
    /// Services outside of the front are asked. Where they are not, they count as letting everybody through.
    const ASKS: bool;

    /// What a filter decided.
    fn hear(&mut self, filter: &'static str, outcome: impl fmt::Display);

    /// The same for one that may answer the request.
    fn hear_of<T>(&mut self, filter: &'static str, result: &Result<T, Answer>) {
        match result {
            Ok(_) => self.hear(filter, "lets it through"),
            Err(answer) => self.hear(filter, format_args!("answers {answer}")),
        }
    }
}

/// Serves, and says nothing of it.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Audience for Silent {
    const ASKS: bool = true;

    fn hear(&mut self, _: &'static str, _: impl fmt::Display) {}
}
