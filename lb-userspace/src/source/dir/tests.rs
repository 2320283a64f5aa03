use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;

use super::*;
use crate::model::problem::code;

/// An edit must be in force well under a second; looking again without being told takes five.
const SOON: Duration = Duration::from_secs(2);

fn service(name: &str, port: u16) -> String {
    format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{ports: [{{port: {port}}}]}}}}\n")
}

fn held(objects: &Objects) -> Vec<(&str, i64)> {
    objects.services().map(|s| (s.metadata.name.as_str(), s.spec.ports[0].port.unwrap_or_default())).collect()
}

fn codes(objects: &Objects) -> Vec<String> {
    objects.problems().into_iter().map(|problem| problem.code).collect()
}

/// A running source and what it has said so far.
struct Watched {
    objects: Objects,
    events: Receiver<(usize, SourceEvent)>,
    task: JoinHandle<Result<(), DirError>>,
}

impl Watched {
    async fn start(path: &Path) -> Self {
        let (sender, events) = channel(16);
        let task = tokio::spawn(run(path.to_owned(), 0, sender));
        let mut watched = Watched { objects: Objects::new(1), events, task };
        watched.until("the first picture", Objects::complete).await;
        watched
    }

    /// Takes events until the condition holds.
    async fn until(&mut self, what: &str, condition: impl Fn(&Objects) -> bool) {
        let end = tokio::time::Instant::now() + SOON;
        while !condition(&self.objects) {
            match tokio::time::timeout_at(end, self.events.recv()).await {
                Ok(Some((source, event))) => self.objects.handle(source, event),
                Ok(None) => panic!("the source ended while waiting for: {what}"),
                Err(_) => panic!("did not happen: {what}; held {:?} {:?}", held(&self.objects), codes(&self.objects)),
            }
        }
    }

    async fn until_held(&mut self, services: &[(&str, i64)]) {
        self.until(&format!("{services:?}"), |objects| held(objects) == services).await;
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn write(path: impl AsRef<Path>, text: &str) {
    fs::create_dir_all(path.as_ref().parent().expect("a parent")).expect("directories");
    fs::write(path, text).expect("written");
}

#[test]
fn reads_a_directory_or_a_file_or_says_why_not() {
    let dir = directory();
    write(dir.path().join("b/c.yml"), &service("c", 3));
    write(dir.path().join("a.yaml"), &service("a", 1));
    write(dir.path().join("b/d.json"), &service("d", 4));
    write(dir.path().join(".a.yaml.swp"), "not read");
    write(dir.path().join("b/.hidden/x.yaml"), "not read");
    write(dir.path().join("README.md"), "not read");
    let objects = read(dir.path()).expect("readable");
    assert_eq!(held(&objects), [("a", 1), ("c", 3), ("d", 4)]);
    assert!(objects.complete() && codes(&objects).is_empty());
    assert_eq!(held(&read(&dir.path().join("a.yaml")).expect("readable")), [("a", 1)]);
    let error = read(&dir.path().join("missing")).expect_err("not there");
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn special_files_and_loops_of_links_do_no_harm() {
    let dir = directory();
    write(dir.path().join("a.yaml"), &service("a", 1));
    symlink(dir.path(), dir.path().join("loop")).expect("linked");
    symlink("nowhere", dir.path().join("dangling.yaml")).expect("linked");
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket.yaml")).expect("bound");
    let objects = read(dir.path()).expect("readable");
    assert_eq!(held(&objects), [("a", 1)]);
    assert_eq!(codes(&objects), [code::FILE_UNREADABLE]);
}

#[test]
fn a_directory_that_is_too_deep_is_named() {
    let dir = directory();
    let deep: std::path::PathBuf = std::iter::repeat_n("d", 40).collect();
    write(dir.path().join(deep).join("a.yaml"), &service("a", 1));
    let objects = read(dir.path()).expect("readable");
    assert!(objects.is_empty());
    assert_eq!(codes(&objects), [code::FILE_UNREADABLE]);
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let dir = directory();
    let file = fs::File::create(dir.path().join("big.yaml")).expect("created");
    file.set_len((64 << 20) + 1).expect("a sparse file");
    assert_eq!(codes(&read(dir.path()).expect("readable")), [code::FILE_TOO_LARGE]);
}

#[tokio::test]
async fn edits_are_in_force_soon() {
    let dir = directory();
    let path = dir.path().join("a.yaml");
    write(&path, &service("a", 1));
    let mut watched = Watched::start(dir.path()).await;

    let begin = Instant::now();
    write(&path, &service("a", 2));
    watched.until_held(&[("a", 2)]).await;
    println!("in force after {:?}", begin.elapsed());

    // As editors do it: the old file aside, a new one in its place.
    fs::rename(&path, dir.path().join("a.yaml~")).expect("renamed");
    write(&path, &service("a", 3));
    watched.until_held(&[("a", 3)]).await;

    write(dir.path().join("new.tmp"), &service("a", 4));
    fs::rename(dir.path().join("new.tmp"), &path).expect("renamed");
    watched.until_held(&[("a", 4)]).await;

    write(dir.path().join("deep/er/b.yaml"), &service("b", 1));
    watched.until_held(&[("a", 4), ("b", 1)]).await;
    write(dir.path().join("deep/er/b.yaml"), &service("b", 2));
    watched.until_held(&[("a", 4), ("b", 2)]).await;

    fs::remove_file(&path).expect("removed");
    watched.until_held(&[("b", 2)]).await;
    fs::remove_dir_all(dir.path().join("deep")).expect("removed");
    watched.until_held(&[]).await;
}

#[tokio::test]
async fn what_a_broken_file_held_stays_in_force() {
    let dir = directory();
    let path = dir.path().join("two.yaml");
    write(&path, &format!("{}---\n{}", service("a", 1), service("b", 1)));
    let mut watched = Watched::start(dir.path()).await;

    write(&path, "apiVersion: v1\nkind: {Service\n");
    watched.until("a Problem", |objects| codes(objects) == [code::YAML_INVALID]).await;
    assert_eq!(held(&watched.objects), [("a", 1), ("b", 1)]);
    let problem = &watched.objects.problems()[0];
    assert_eq!((problem.file.as_deref(), problem.line), (Some(path.as_path()), Some(3)), "{problem:?}");

    // One object is broken, the other has changed.
    let broken = service("b", 2).replace("ports: [", "ports: [5, ");
    write(&path, &format!("{}---\n{broken}", service("a", 2)));
    watched.until_held(&[("a", 2), ("b", 1)]).await;
    watched.until("another Problem", |objects| codes(objects) == [code::FIELD_INVALID]).await;

    write(&path, &service("a", 3));
    watched.until_held(&[("a", 3)]).await;
    watched.until("no Problem", |objects| codes(objects).is_empty()).await;
}

#[tokio::test]
async fn a_file_that_was_never_read_well_is_named_until_it_is_or_is_gone() {
    let dir = directory();
    let [good, bad, worse] = ["good.yaml", "bad.yaml", "worse.yaml"].map(|name| dir.path().join(name));
    write(&good, &service("a", 1));
    write(&bad, "kind: {Service\n");
    write(&worse, "kind: [Service\n");
    let mut watched = Watched::start(dir.path()).await;
    assert_eq!(watched.objects.unread().collect::<Vec<_>>(), [&bad, &worse]);
    // What was read well once is known, whatever becomes of it.
    write(&good, "kind: {Service\n");
    watched.until("a third Problem", |objects| codes(objects).len() == 3).await;
    assert_eq!(watched.objects.unread().count(), 2);
    write(&bad, &service("b", 1));
    watched.until("one file", |objects| objects.unread().eq([&worse])).await;
    assert_eq!(held(&watched.objects), [("a", 1), ("b", 1)]);
    fs::remove_file(&worse).expect("removed");
    watched.until("no file", |objects| objects.unread().next().is_none()).await;
}

#[tokio::test]
async fn a_configmap_mount_is_swapped_at_once() {
    let dir = directory();
    let version = |number: u16| {
        write(dir.path().join(format!("..v{number}/a.yaml")), &service("a", number));
        symlink(format!("..v{number}"), dir.path().join("..data_tmp")).expect("linked");
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).expect("swapped");
    };
    version(1);
    symlink("..data/a.yaml", dir.path().join("a.yaml")).expect("linked");
    let mut watched = Watched::start(dir.path()).await;
    assert_eq!(held(&watched.objects), [("a", 1)]);
    for number in 2..5 {
        version(number);
        fs::remove_dir_all(dir.path().join(format!("..v{}", number - 1))).expect("removed");
        watched.until_held(&[("a", number.into())]).await;
        assert!(codes(&watched.objects).is_empty());
    }
}

#[tokio::test]
async fn the_directory_itself_may_be_swapped_or_vanish() {
    let dir = directory();
    let root = dir.path().join("current");
    let point_to = |name: &str, number: u16| {
        write(dir.path().join(name).join("a.yaml"), &service("a", number));
        symlink(name, dir.path().join("next")).expect("linked");
        fs::rename(dir.path().join("next"), &root).expect("swapped");
    };
    point_to("one", 1);
    let mut watched = Watched::start(&root).await;
    point_to("two", 2);
    watched.until_held(&[("a", 2)]).await;
    write(dir.path().join("two/a.yaml"), &service("a", 3));
    watched.until_held(&[("a", 3)]).await;

    fs::remove_file(&root).expect("removed");
    watched.until("a Problem", |objects| codes(objects) == [code::FILE_UNREADABLE]).await;
    assert_eq!(held(&watched.objects), [("a", 3)], "what was there stays in force");
    point_to("three", 4);
    watched.until_held(&[("a", 4)]).await;
    watched.until("no Problem", |objects| codes(objects).is_empty()).await;
}

#[tokio::test]
async fn ends_when_nobody_listens() {
    let dir = directory();
    let watched = Watched::start(dir.path()).await;
    drop(watched.events);
    let ended = tokio::time::timeout(SOON, watched.task).await.expect("ends soon").expect("no panic");
    assert!(ended.is_ok());
}

#[tokio::test]
async fn a_missing_directory_is_an_error_at_once() {
    let (sender, _events) = channel(1);
    let ended = run(directory().path().join("missing"), 0, sender).await;
    assert!(matches!(ended, Err(DirError::Unreadable { .. })));
}

/// What may be done to one of a few files between two looks.
#[derive(Clone, Debug)]
enum Edit {
    Write { file: usize, services: Vec<(usize, u16)>, settled: bool },
    Remove { file: usize },
    Look,
}

fn edit() -> impl Strategy<Value = Edit> {
    let services = prop::collection::vec((0..7_usize, 1..4_u16), 0..3);
    prop_oneof![
        3 => (0..3_usize, services, any::<bool>()).prop_map(|(file, services, settled)| Edit::Write { file, services, settled }),
        1 => (0..3_usize).prop_map(|file| Edit::Remove { file }),
        2 => Just(Edit::Look),
    ]
}

/// Objects of kinds from which slices are derived, of such from which none are, and of slices, which stand in their way.
fn document(name: usize, number: u16) -> String {
    match name {
        0 | 1 => service(&format!("s{name}"), number).replace("{ports", "{selector: {app: web}, ports"),
        2 => format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p, labels: {{app: web}}}}, status: {{podIP: 10.0.0.{number}}}}}\n"
        ),
        3 | 4 => format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c{name}}}, data: {{a: '{number}'}}}}\n"),
        5 => format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: i}}, spec: {{ingressClassName: c{number}}}}}\n"
        ),
        _ => format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: e, labels: \
             {{kubernetes.io/service-name: s{}}}}}, endpoints: [{{addresses: [10.0.1.{number}]}}]}}\n",
            number % 2
        ),
    }
}

fn apply(edit: &Edit, directory: &Path) {
    let path = |file: &usize| directory.join(format!("{file}.yaml"));
    match edit {
        Edit::Write { file, services, settled } => {
            let unique: std::collections::BTreeMap<_, _> = services.iter().copied().collect();
            let documents = unique.iter().map(|(name, port)| document(*name, *port));
            write(path(file), &documents.collect::<Vec<_>>().join("---\n"));
            if *settled {
                let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
                let file = fs::File::options().write(true).open(path(file)).expect("there");
                file.set_modified(long_ago).expect("stamped");
            }
        }
        Edit::Remove { file } => drop(fs::remove_file(path(file))),
        Edit::Look => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However often it looked in between, a source ends with what a fresh reading finds.
    #[test]
    fn looking_again_finds_what_a_fresh_reading_finds(edits in prop::collection::vec(edit(), 1..12)) {
        let dir = directory();
        let mut tree = Tree::new(dir.path());
        let mut objects = Objects::new(1);
        for event in tree.first_picture().expect("readable") {
            objects.handle(0, event);
        }
        for edit in edits.iter().chain([&Edit::Look]) {
            apply(edit, dir.path());
            if matches!(edit, Edit::Look) {
                tree.changes().into_iter().for_each(|event| objects.handle(0, event));
            }
        }
        let fresh = read(dir.path()).expect("readable");
        prop_assert_eq!(objects.iter().collect::<Vec<_>>(), fresh.iter().collect::<Vec<_>>());
        prop_assert_eq!(objects.problems(), fresh.problems());
        prop_assert_eq!(objects.unread().count(), 0);
        prop_assert!(tree.changes().is_empty(), "nothing has changed since");
    }
}
