//! `lb-agent confirm`.

use std::process::ExitCode;

use hyper::Method;
use serde::Deserialize;

use crate::{
    ask::ask,
    check::count,
    cli::{Common, ConfirmArgs},
    failure::Failure,
    output::print_line,
};

#[derive(Debug, Deserialize)]
struct Answer {
    records: usize,
}

pub(crate) async fn confirm(common: &Common, args: &ConfirmArgs) -> Result<ExitCode, Failure> {
    let path = match &args.service {
        // A name needs no escaping.
        Some(service) => format!("/confirm?service={service}"),
        None => "/confirm".to_owned(),
    };
    let body = ask(common, &args.agent, Method::POST, &path).await?;
    let answer: Answer = serde_json::from_slice(&body)?;
    match answer.records {
        0 => print_line("nothing was held back"),
        records => print_line(format_args!("let through: {}", count(records, "record"))),
    }
    Ok(ExitCode::SUCCESS)
}
