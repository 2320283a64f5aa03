use super::*;

fn names() -> Rc<Names> {
    // Nobody listens there.
    Rc::new(Names::new(vec![([127, 0, 0, 1], 1).into()]))
}

#[tokio::test(flavor = "current_thread")]
async fn an_address_stands_for_itself() {
    for (text, expected) in [("192.0.2.1", "192.0.2.1"), ("[2001:db8::1]", "2001:db8::1")] {
        let found = names().find(text).await.expect("an address");
        assert_eq!(*found, [expected.parse::<IpAddr>().expect("one")]);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_number_of_names_is_bounded() {
    let names = names();
    for number in 0..2 * MOST {
        names.entry(&format!("{number}.example"));
    }
    assert_eq!(names.known.borrow().len(), MOST);
    assert!(names.known.borrow().contains_key("2047.example"));
}
