//! What is missing until the agent is ready.

/// Everything that `/readyz` waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Readiness {
    /// The sources, as on the command line, and whether each has delivered a complete picture.
    pub(super) sources: Vec<(String, bool)>,
    /// A pass has written all that it wanted to the maps, as far as there is room: that a map is full is a Problem, and no
    /// reason to wait for what cannot come.
    pub(super) maps_written: bool,
    /// The programs are attached.
    pub(super) attached: bool,
    /// The front serves.
    pub(super) front: bool,
    /// The agent was asked to end.
    pub(super) ending: bool,
}

impl Readiness {
    /// One line for each thing that is missing; empty: ready.
    pub(super) fn missing(&self) -> Vec<String> {
        let incomplete = self.sources.iter().filter(|(_, complete)| !complete);
        let mut missing: Vec<_> =
            incomplete.map(|(source, _)| format!("source {source}: not read completely")).collect();
        let parts = [
            (self.maps_written, "maps: not written"),
            (self.attached, "programs: not attached"),
            (self.front, "front: not listening"),
            (!self.ending, "agent: ending"),
        ];
        missing.extend(parts.iter().filter(|(there, _)| !there).map(|(_, line)| (*line).to_owned()));
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_missing_at_first_and_each_step_takes_one_away() {
        let mut readiness = Readiness { sources: vec![("dir:/m".into(), false)], ..Readiness::default() };
        let all = [
            "source dir:/m: not read completely",
            "maps: not written",
            "programs: not attached",
            "front: not listening",
        ];
        assert_eq!(readiness.missing(), all);
        readiness.front = true;
        assert_eq!(readiness.missing(), all[..3]);
        readiness.sources[0].1 = true;
        assert_eq!(readiness.missing(), all[1..3]);
        readiness.maps_written = true;
        assert_eq!(readiness.missing(), all[2..3]);
        readiness.attached = true;
        assert!(readiness.missing().is_empty());
    }

    #[test]
    fn a_front_that_is_gone_takes_readiness_back() {
        let ready = Readiness { maps_written: true, attached: true, front: true, ..Readiness::default() };
        assert!(ready.missing().is_empty());
        assert_eq!(Readiness { ending: true, ..ready.clone() }.missing(), ["agent: ending"]);
        assert_eq!(Readiness { front: false, ..ready }.missing(), ["front: not listening"]);
    }
}
