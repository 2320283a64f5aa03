//! From a review (admission.k8s.io/v1 and v1beta1) to the answer.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::problem::code;
use crate::model::{Problem, Severity};
use crate::source::{Objects, SourceEvent, parse};
use crate::translate::{Settings, translate};

/// What only those can tell who see the other objects too.
const NEED_OTHERS: [&str; 7] = [
    code::SERVICE_MISSING,
    code::SERVICE_PORT_MISSING,
    code::SECRET_MISSING,
    code::CONFIGMAP_MISSING,
    code::CANARY_WITHOUT_MAIN,
    code::FAMILY_WITHOUT_BACKENDS,
    code::HOST_DENIED,
];
/// The API server cuts off longer warnings.
const LONGEST: usize = 256;
/// Stands for the end of a name that the API server makes up later.
const MADE_UP: &str = "x";

/// A body that is no review.
#[derive(Debug, thiserror::Error)]
#[error("not an AdmissionReview: {0}")]
pub(super) struct NotAReview(&'static str);

/// The answer to a review: warnings, and a refusal if a Problem is as bad as `deny`.
pub(super) fn answer(body: &[u8], settings: &Settings, deny: Option<Severity>) -> Result<Value, NotAReview> {
    let review: Value = serde_json::from_slice(body).map_err(|_| NotAReview("it is not JSON"))?;
    let uid = review["request"]["uid"].as_str().ok_or(NotAReview("it has no request.uid"))?;
    let problems = problems(&review["request"], settings);
    let is_refused = |problem: &&Problem| deny.is_some_and(|deny| is_as_bad(problem.severity, deny));
    let refused: Vec<_> = problems.iter().filter(is_refused).map(|problem| problem.message.as_str()).collect();
    let mut response = json!({"uid": uid, "allowed": refused.is_empty()});
    if refused.is_empty() {
        response["warnings"] = problems.iter().map(warning).collect();
    } else {
        response["status"] = json!({"message": refused.join("; ")});
    }
    Ok(json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}))
}

fn is_as_bad(severity: Severity, as_this: Severity) -> bool {
    severity == Severity::Error || severity == as_this
}

fn warning(problem: &Problem) -> String {
    let text = format!("weir: {} [{}]", problem.message, problem.code);
    text.chars().take(LONGEST).collect()
}

/// Errors and warnings of the object; none where there is none, as for a deletion.
fn problems(request: &Value, settings: &Settings) -> Vec<Problem> {
    let Some(object) = request["object"].as_object() else { return Vec::new() };
    // JSON is YAML: the object is read as one of a file is.
    let text = named(object.clone(), &request["namespace"]).to_string();
    let parsed = parse::parse(&Arc::from(Path::new("object")), text.as_bytes());
    let own: Vec<_> = parsed.objects.iter().map(|object| object.key().reference()).collect();
    let mut problems = parsed.problems;
    let mut objects = Objects::new(1);
    objects.handle(0, SourceEvent::Init);
    parsed.objects.into_iter().for_each(|object| objects.handle(0, SourceEvent::InitApply(object)));
    objects.handle(0, SourceEvent::InitDone);
    let of_object = |problem: &Problem| own.contains(&problem.object) && !NEED_OTHERS.contains(&&*problem.code);
    problems.extend(translate(&objects, settings).1.into_iter().filter(of_object));
    problems.retain(|problem| problem.severity != Severity::Info);
    problems
}

/// An object that is created may have neither its name nor its namespace yet.
fn named(mut object: Map<String, Value>, namespace: &Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if let (None, Some(start)) = (metadata.get("name"), metadata.get("generateName").and_then(Value::as_str)) {
            let name = format!("{start}{MADE_UP}");
            metadata.insert("name".to_owned(), name.into());
        }
        if namespace.is_string() {
            metadata.insert("namespace".to_owned(), namespace.clone());
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;
    use crate::config::Manifests;

    fn settings() -> Settings {
        let cli = crate::cli::parse(["weir", "check", "."]).expect("arguments");
        let Command::Check(args) = cli.command else { panic!("check") };
        Manifests::try_from(&*args).expect("manifests").settings(None, &[])
    }

    fn asked(object: &Value, deny: Option<Severity>) -> Value {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u-1", "namespace": "shop", "operation": "CREATE", "object": object,
        }});
        answer(review.to_string().as_bytes(), &settings(), deny).expect("an answer")["response"].clone()
    }

    fn ingress(annotation: &str, value: &str) -> Value {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"generateName": "web-", "annotations": {annotation: value}},
            "spec": {"rules": [{"host": "a.test", "http": {"paths": [{"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}})
    }

    #[test]
    fn what_is_wrong_with_the_object_is_a_warning_or_a_refusal() {
        let wrong = ingress("nginx.ingress.kubernetes.io/proxy-read-timeout", "soon");
        let response = asked(&wrong, None);
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(true)));
        let warning = response["warnings"][0].as_str().expect("a warning");
        assert!(warning.contains("shop/web-x") && warning.contains("annotation-invalid"), "{warning}");
        let refused = asked(&wrong, Some(Severity::Warning));
        assert_eq!(refused["allowed"], json!(false));
        assert!(refused["status"]["message"].as_str().is_some_and(|text| text.contains("soon")), "{refused}");
    }

    #[test]
    fn what_other_objects_decide_is_not_judged() {
        // The Service `web` is in no review, and may exist.
        let right = ingress("nginx.ingress.kubernetes.io/proxy-read-timeout", "30");
        let response = asked(&right, Some(Severity::Warning));
        assert_eq!((&response["allowed"], &response["warnings"]), (&json!(true), &json!([])));
        assert_eq!(asked(&Value::Null, Some(Severity::Warning))["allowed"], json!(true));
        let other = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}});
        assert_eq!(asked(&other, Some(Severity::Warning))["allowed"], json!(true));
    }

    #[test]
    fn what_is_no_review_is_refused() {
        assert!(answer(b"", &settings(), None).is_err());
        assert!(answer(b"{}", &settings(), None).is_err());
    }
}
