//! Events to nodes.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::{MAX_DEPTH, MAX_NODES, Node, Value, YamlError, scalar};

/// Reads all documents.
pub(super) fn read(text: &str) -> Result<Vec<Node>, YamlError> {
    let mut reader = Reader::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|e| YamlError { line: line(e.marker()), message: e.info().to_owned() })?;
        reader.event(event, line(&span.start))?;
    }
    Ok(reader.documents)
}

fn line(marker: &Marker) -> u32 {
    u32::try_from(marker.line()).unwrap_or(u32::MAX).max(1)
}

#[derive(Default)]
struct Reader {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

/// A sequence or mapping that has begun and not ended.
struct Open {
    line: u32,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Box<str>, Node)>, key: Option<(Box<str>, u32)> },
}

impl Reader {
    fn event(&mut self, event: Event<'_>, line: u32) -> Result<(), YamlError> {
        match event {
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tagged_string = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let plain = style == ScalarStyle::Plain && !tagged_string && !self.expects_key();
                let value = if plain { scalar::resolve(&text) } else { Value::String(text.into()) };
                self.complete(Node { line, value }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(error(line, "an alias stands inside the value that it repeats"));
                };
                spend(&mut self.nodes, node.count(), line)?;
                let node = node.clone();
                self.complete(node, 0)
            }
            Event::SequenceStart(anchor, _) => self.begin(line, anchor, Content::Sequence(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.begin(line, anchor, Content::Mapping { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(line),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Mapping { key: None, .. }, .. }))
    }

    fn begin(&mut self, line: u32, anchor: usize, content: Content) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(error(line, &format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if self.expects_key() {
            return Err(error(line, "a key must be a plain word or a string"));
        }
        self.open.push(Open { line, anchor, content });
        Ok(())
    }

    fn end(&mut self, line: u32) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else {
            return Err(error(line, "a sequence or mapping ends that has not begun"));
        };
        let value = match open.content {
            Content::Sequence(items) => Value::Sequence(items),
            Content::Mapping { entries, .. } => Value::Mapping(finish_mapping(entries)?),
        };
        self.complete(Node { line: open.line, value }, open.anchor)
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        spend(&mut self.nodes, 1, node.line)?;
        if anchor != 0 {
            spend(&mut self.nodes, node.count(), node.line)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.documents.push(node),
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping { entries, key }) => match (key.take(), node.value) {
                // A value is where its key is: that is the line that people look for.
                (Some((name, line)), value) => entries.push((name, Node { line, value })),
                (None, Value::String(name)) => *key = Some((name, node.line)),
                (None, _) => return Err(error(node.line, "a key must be a plain word or a string")),
            },
        }
        Ok(())
    }
}

fn spend(spent: &mut usize, nodes: usize, line: u32) -> Result<(), YamlError> {
    *spent = spent.saturating_add(nodes);
    if *spent > MAX_NODES {
        return Err(error(line, &format!("more than {MAX_NODES} values, with aliases expanded")));
    }
    Ok(())
}

/// Applies `<<` (YAML's merge key, which kubectl accepts too) and refuses keys given twice.
fn finish_mapping(entries: Vec<(Box<str>, Node)>) -> Result<Vec<(Box<str>, Node)>, YamlError> {
    let mut seen = HashSet::with_capacity(entries.len());
    if let Some((key, node)) = entries.iter().find(|(key, _)| !seen.insert(&**key)) {
        return Err(error(node.line, &format!("the key {key:?} is given twice")));
    }
    let base = entries.iter().find(|(key, _)| &**key == "<<").and_then(|(_, node)| match &node.value {
        Value::Mapping(base) => Some(base),
        _ => None,
    });
    let Some(base) = base else { return Ok(entries) };
    let missing: Vec<_> = base.iter().filter(|(key, _)| !seen.contains(&**key)).cloned().collect();
    Ok(entries.into_iter().filter(|(key, _)| &**key != "<<").chain(missing).collect())
}

fn error(line: u32, message: &str) -> YamlError {
    YamlError { line, message: message.to_owned() }
}
