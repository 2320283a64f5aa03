//! libFuzzer around one of the targets, which `WEIR_FUZZ_TARGET` names; `list` names them all.
#![no_main]

use std::sync::OnceLock;

use weir_fuzz::Target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fn choose() {
    let name = std::env::var("WEIR_FUZZ_TARGET").unwrap_or_default();
    if name == "list" {
        weir_fuzz::TARGETS.iter().for_each(|target| println!("{} {}", target.name, target.rights()));
        std::process::exit(0);
    }
    let Some(target) = Target::named(&name) else {
        eprintln!("WEIR_FUZZ_TARGET names no target: {name:?}; there are {}", weir_fuzz::names());
        std::process::exit(64);
    };
    let _ = TARGET.set(target);
}

libfuzzer_sys::fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(data);
    }
});
