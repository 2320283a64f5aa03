mod docs;
mod image;

use clap::CommandFactory;

use super::*;

#[test]
fn clap_finds_no_contradiction() {
    Cli::command().debug_assert();
}

#[test]
fn wrong_usage_is_64_and_help_is_0() {
    let exit = |line: &str| parse(line.split(' ')).err();
    for wrong in ["weir", "weir agent", "weir nonsense", "weir agent --source dir:x --nonsense", "weir check"] {
        assert_eq!(exit(wrong), Some(Exit::Usage), "{wrong}");
    }
    for right in ["weir --help", "weir agent --help", "weir --version"] {
        assert_eq!(exit(right), Some(Exit::Done), "{right}");
    }
}

#[test]
fn help_teaches_with_examples_and_exit_codes() {
    let mut command = Cli::command();
    command.build();
    let taught =
        ["agent", "check", "status", "services", "backends", "routes", "flows", "explain", "drops", "capture", "top"];
    for name in taught {
        let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
        assert!(help.contains("Exit codes"), "{name}");
    }
    assert!(command.render_long_help().to_string().contains("Examples:"));
}

#[test]
fn help_is_no_wider_than_a_terminal() {
    let own_text = [
        EXAMPLES,
        AGENT_EXAMPLES,
        CHECK_EXAMPLES,
        READ_EXAMPLES,
        FLOWS_EXAMPLES,
        EXPLAIN_EXAMPLES,
        DROPS_EXAMPLES,
        CAPTURE_EXAMPLES,
        TOP_EXAMPLES,
    ];
    for line in own_text.iter().flat_map(|text| text.lines()) {
        assert!(line.chars().count() <= 100, "{line}");
    }
}
