//! Asks the kernel what only one of its programs sees, by test runs of the pinned program for that.

use std::io;

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use lb_common::abi::program;
use lb_common::ethernet::HEADER;
use lb_common::lookup::Route;
use lb_common::question::{ANSWER_WORDS, ETHER_TYPE, Question, outcome, route_of};

use crate::dataplane::config::Pins;
use crate::dataplane::error::{DataplaneError, program_io};

/// The kernel, to be asked.
pub(super) struct Oracle(SchedClassifier);

impl Oracle {
    pub(super) fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        let pin = pins.program(program::ASK);
        let program = SchedClassifier::from_pin(&pin);
        program.map(Self).map_err(|error| DataplaneError::file("read", pin)(program_io(error)))
    }

    /// Which way the pipeline would take.
    pub(super) fn route(&self, question: &Question) -> io::Result<Route> {
        let answer = self.ask(question)?;
        route_of(answer)
            .ok_or_else(|| io::Error::other(format!("{} answers {answer:?}, which is no route", program::ASK)))
    }

    /// Whether a listener of the front is there.
    pub(super) fn listens(&self, question: &Question) -> io::Result<bool> {
        Ok(self.ask(question)?[0] == outcome::LISTENS)
    }

    fn ask(&self, question: &Question) -> io::Result<[u32; ANSWER_WORDS]> {
        let mut frame = vec![0; 12];
        frame.extend(ETHER_TYPE.to_be_bytes());
        frame.extend(question.words().iter().flat_map(|word| word.to_ne_bytes()));
        let mut out = vec![0; frame.len()];
        let options = TestRunOptions { data_in: Some(&frame), data_out: Some(&mut out), ..TestRunOptions::default() };
        self.0.test_run(options).map_err(program_io)?;
        let words = out[HEADER..].as_chunks::<4>().0;
        Ok(std::array::from_fn(|at| u32::from_ne_bytes(words[at])))
    }
}
