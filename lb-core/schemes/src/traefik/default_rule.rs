//! Traefik's default rule: a template that makes a rule out of an object's name and labels.

use crate::Subject;

/// Traefik's own default.
pub(super) const DEFAULT: &str = "Host(`{{ normalize .Name }}`)";

/// The rule that `template` makes for `subject`.
///
/// Understood are `.Name`, `.ContainerName` and `index .Labels "key"`, alone or with `normalize`, `lower`, `trimPrefix
/// "text"` or `trimSuffix "text"` before or, with `|`, after them.
pub(super) fn render(template: &str, subject: &Subject<'_>) -> Result<String, String> {
    let mut rule = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after
            .split_once("}}")
            .ok_or_else(|| "expected }} after {{".to_owned())?;
        rule.push_str(before);
        rule.push_str(&value(action.trim_matches(['-', ' ']), subject)?);
        rest = after;
    }
    rule.push_str(rest);
    Ok(rule)
}

/// Traefik's name of an object: `service-project` under compose, else its own name.
pub(super) fn name(subject: &Subject<'_>) -> String {
    match subject.compose {
        Some(compose) => normalize(&format!("{}_{}", compose.service, compose.project)),
        None => normalize(subject.name),
    }
}

/// Letters and digits, with one `-` between what else separates them.
fn normalize(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.join("-")
}

fn value(action: &str, subject: &Subject<'_>) -> Result<String, String> {
    let mut stages = action.split('|').map(words);
    let first = stages.next().unwrap_or_default();
    let mut value = operand(&first, subject)?;
    for stage in stages {
        value = apply(&stage, value)?;
    }
    Ok(value)
}

fn operand(words: &[String], subject: &Subject<'_>) -> Result<String, String> {
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [".Name"] => Ok(name(subject)),
        [".ContainerName"] => Ok(subject.name.to_owned()),
        ["index", ".Labels", key] => {
            let key = key.trim_matches(['"', '`']);
            Ok(subject.labels.get(key).cloned().unwrap_or_default())
        }
        _ => {
            // A function before its operand.
            let (function, operand_words) = match words.first().map(String::as_str) {
                Some("normalize" | "lower") => words.split_at(1),
                Some("trimPrefix" | "trimSuffix") if words.len() > 2 => words.split_at(2),
                _ => return Err(unknown(words)),
            };
            let inner = operand(operand_words, subject)?;
            apply(function, inner)
        }
    }
}

fn apply(function: &[String], value: String) -> Result<String, String> {
    match function.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["normalize"] => Ok(normalize(&value)),
        ["lower"] => Ok(value.to_lowercase()),
        ["trimPrefix", text] => {
            let text = text.trim_matches(['"', '`']);
            Ok(value.strip_prefix(text).unwrap_or(&value).to_owned())
        }
        ["trimSuffix", text] => {
            let text = text.trim_matches(['"', '`']);
            Ok(value.strip_suffix(text).unwrap_or(&value).to_owned())
        }
        _ => Err(unknown(function)),
    }
}

fn unknown(words: &[String]) -> String {
    format!(
        "template has {:?}, expected .Name, .ContainerName or index .Labels \"key\", with normalize, lower, trimPrefix or trimSuffix",
        words.join(" ")
    )
}

/// Words, with parentheses around an operand left out.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(|word| word.trim_matches(['(', ')']).to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}
