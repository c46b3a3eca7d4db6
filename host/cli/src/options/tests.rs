//! Tests of accepted and rejected arguments, and of the messages for rejected ones.

use super::*;
use clap::CommandFactory;
use serde_json::json;
use std::num::NonZeroUsize;
use std::time::Duration;
use wisp_sandbox::limits::Limits;
use wisp_serving::ServingOptions;
use wisp_tensor::{Dimension, ParameterValue};

fn parse(line: &str) -> Result<Command, String> {
    let words = std::iter::once("wisp").chain(line.split_whitespace());
    match Options::try_parse_from(words) {
        Ok(options) => Ok(options.command),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn the_definitions_are_consistent() {
    Options::command().debug_assert();
}

#[test]
fn every_subcommand_and_argument_explains_itself() {
    let options = Options::command();
    // Hidden subcommands are for use by the program only.
    let shown = options
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let mut left: Vec<&clap::Command> = shown.collect();
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands());
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name}");
        let examples = command.get_after_help().map(ToString::to_string);
        assert!(examples.is_some(), "{name} has no examples");
        // Longer lines are wrapped by the help, in the middle of a paragraph that is wrapped already.
        for line in examples.iter().flat_map(|examples| examples.lines()) {
            assert!(line.chars().count() <= 100, "{name}: {line}");
        }
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{name} {}",
                argument.get_id()
            );
        }
    }
}

#[test]
fn every_setting_of_a_server_is_an_environment_variable_shown_in_its_help() {
    let options = Options::command();
    let serve = options.find_subcommand("serve").unwrap();
    for argument in serve.get_arguments() {
        let name = argument.get_id().as_str();
        // An action, as `--help` is, and other names of settings.
        if ["check_config", "no_exit_on_error", "no_cage"].contains(&name) {
            continue;
        }
        let variable = argument.get_env().and_then(|variable| variable.to_str());
        assert_eq!(variable, Some(&*format!("WISP_{}", name.to_uppercase())));
        assert!(!argument.is_hide_env_set(), "{name}");
    }
}

#[test]
fn an_option_of_several_commands_has_the_same_variable_in_all_of_them() {
    /// Options that shape a measurement or a bundle, not a server.
    const OF_ONE_RUN: [&str; 3] = ["build", "max_body_bytes", "threads"];
    let options = Options::command();
    let serve = options.find_subcommand("serve").unwrap();
    let shown = options
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let mut left: Vec<&clap::Command> = shown.collect();
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands());
        for argument in command.get_arguments() {
            let id = argument.get_id();
            let of_serve = serve.get_arguments().find(|other| other.get_id() == id);
            if let Some(of_serve) = of_serve
                && !OF_ONE_RUN.contains(&id.as_str())
            {
                assert_eq!(argument.get_env(), of_serve.get_env(), "{id}");
            }
            let variable = argument.get_env().and_then(|variable| variable.to_str());
            assert!(
                // The variable of pip, which companies with a mirror have set.
                variable.is_none_or(|name| name.starts_with("WISP_") || name == "PIP_INDEX_URL"),
                "{id}: {variable:?}"
            );
        }
    }
}

#[test]
fn a_release_names_a_model_and_a_candidate() {
    let parsed = parse("release start wine --candidate 2 --weight 5 --latency mean");
    let Ok(Command::Release(ReleaseCommandArgs {
        command: ReleaseCommand::Start(start),
    })) = parsed
    else {
        panic!("refused");
    };
    assert_eq!(start.model.as_str(), "wine");
    assert_eq!(start.candidate.to_string(), "2");
    assert_eq!((start.weight, start.shadow), (5.0, 0.0));
    assert_eq!(start.latency, LatencyChoice::Mean);
    for line in [
        "release start wine",
        "release start wine --candidate x",
        "release start wine --candidate 2 --weight 101",
        "release start wine --candidate 2 --min-requests 0",
        "release status ../wine",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn serve_listens_on_the_loopback_unless_told_otherwise() {
    let Ok(Command::Serve(args)) = parse("serve models") else {
        panic!("refused");
    };
    assert_eq!(args.http.to_string(), "127.0.0.1:8000");
    assert!(!args.build && !args.watch);
    assert_eq!(
        args.max_body_bytes,
        ServingOptions::default().max_body_bytes
    );
    let Ok(Command::Serve(args)) = parse("serve --build --watch --http [::1]:0 --threads 2 .")
    else {
        panic!("refused");
    };
    assert!(args.build && args.watch);
    assert_eq!(args.http.to_string(), "[::1]:0");
    assert_eq!(args.threads, NonZeroUsize::new(2));
}

#[test]
fn every_command_that_runs_a_handler_can_be_told_where_its_code_is_kept() {
    for line in ["serve", "infer --input x=1", "check", "inspect"] {
        let parsed = parse(&format!("{line} --cache-dir here m"));
        let cache = match parsed {
            Ok(Command::Serve(args)) => args.cache,
            Ok(Command::Infer(args)) => args.cache,
            Ok(Command::Check(args)) => args.cache,
            Ok(Command::Inspect(args)) => args.cache,
            other => panic!("`{line}`: {other:?}"),
        };
        assert_eq!(cache.cache_dir, Some("here".into()), "{line}");
    }
}

#[test]
fn every_command_that_runs_requests_can_raise_the_limits_of_handlers() {
    let raised = "--max-component-bytes 5 --max-handler-memory-bytes 4294967296 --max-handler-tensor-bytes 2 \
                  --max-handler-transfer-bytes 3 --max-handler-time-milliseconds 4";
    for line in ["serve", "infer --input x=1", "check"] {
        for arguments in ["", raised] {
            let limits = match parse(&format!("{line} {arguments} m")) {
                Ok(Command::Serve(args)) => args.handler_limits.limits(),
                Ok(Command::Infer(args)) => args.handler_limits.limits(),
                Ok(Command::Check(args)) => args.handler_limits.limits(),
                other => panic!("`{line}`: {other:?}"),
            };
            let expected = match arguments {
                "" => Limits::default(),
                _ => Limits {
                    component_bytes: 5,
                    memory_bytes: 4 << 30,
                    tensor_bytes: 2,
                    transfer_bytes: 3,
                    guest_time: Duration::from_millis(4),
                    ..Limits::default()
                },
            };
            assert_eq!(limits, expected, "{line} {arguments}");
        }
    }
}

#[test]
fn values_that_cannot_be_are_refused_with_the_form_that_can() {
    for (line, expected) in [
        ("serve --http 8000 .", "such as 127.0.0.1:8000"),
        ("serve --max-body-bytes 0 .", "from 1 to"),
        (
            "serve --request-timeout-milliseconds 0 .",
            "milliseconds, from 1",
        ),
        ("serve --max-concurrent-requests 0 .", "from 1 to 1000000"),
        (
            "serve --max-concurrent-requests 2305843009213693952 .",
            "from 1 to 1000000",
        ),
        ("serve --threads 0 .", "--threads"),
        (
            "serve --max-handler-memory-bytes 4294967297 .",
            "from 1 to 4294967296 (4 GiB)",
        ),
        (
            "check --max-handler-time-milliseconds 0 m",
            "milliseconds, from 1",
        ),
        ("serve --repository-poll-secs 0 .", "seconds, from 1"),
        ("serve --model-control-mode all .", "none, explicit, poll"),
        ("serve --build=1 .", "true, false"),
        (
            "serve --cors-origin example.com .",
            "'--cors-origin <ORIGIN>': expected an origin, such as https://example.com",
        ),
        (
            "serve --cors-origin https://example.com/ .",
            "write `https://example.com`",
        ),
        ("serve", "PATH"),
        ("infer m", "--input"),
        ("infer m --input image", "NAME=VALUE"),
        ("infer m --input =1", "NAME=VALUE"),
        ("infer m --input image=@", "file name after `@`"),
        ("infer m --input text=hello", "text=\"text\""),
        ("infer m --input x=1 --parameter top_k", "such as top_k=3"),
        ("new x --template audio", "image, tabular, text"),
        ("check", "MODEL"),
        ("health localhost:8000", "such as http://127.0.0.1:8000"),
        ("health --timeout-secs 0", "seconds, from 1"),
        ("serve --log-format xml .", "auto, text, json"),
        ("inspect", "FILE"),
        ("backend install tract", "onnxruntime"),
        ("backend install", "NAME"),
        (
            "backend install onnxruntime --index-url ftp://a/simple",
            "such as https://pypi.org/simple",
        ),
        (
            "backend install onnxruntime --index-url https://",
            "such as",
        ),
    ] {
        match parse(line) {
            Ok(command) => panic!("`{line}` was taken as {command:?}"),
            Err(text) => assert!(text.contains(expected), "`{line}`: {text}"),
        }
    }
}

#[test]
fn inputs_are_files_or_json() {
    let file = value::named_input("image=@a=b.png");
    assert_eq!(
        file.map(|input| (input.name, input.source)),
        Ok(("image".to_owned(), InputSource::File("a=b.png".into())))
    );
    let json = value::named_input("x=[[1, 2.5]]");
    assert_eq!(
        json.map(|input| input.source),
        Ok(InputSource::Json(json!([[1, 2.5]])))
    );
}

#[test]
fn shapes_are_sizes_after_a_name() {
    for (text, name, sizes) in [
        ("images=1x3x640x640", "images", [1, 3, 640, 640].as_slice()),
        ("a=b=7", "a=b", &[7]),
        ("x=0x2", "x", &[0, 2]),
    ] {
        let shape = value::named_shape(text);
        assert_eq!(shape.as_ref().map(ToString::to_string), Ok(text.to_owned()));
        let found = shape.map(|shape| (shape.name, shape.sizes));
        assert_eq!(found, Ok((name.to_owned(), sizes.to_vec())));
    }
    for text in [
        "x",
        "x=",
        "=1x2",
        "x=1,2",
        "x=-1x3",
        "x=4294967295x4294967295",
    ] {
        assert!(value::named_shape(text).is_err(), "{text}");
    }
}

#[test]
fn parameters_are_scalars_or_text() {
    for (text, expected) in [
        ("p=true", ParameterValue::Bool(true)),
        ("p=-3", ParameterValue::Int64(-3)),
        ("p=18446744073709551615", ParameterValue::Uint64(u64::MAX)),
        ("p=0.5", ParameterValue::Double(0.5)),
        ("p=\"3\"", ParameterValue::String("3".to_owned())),
        ("p=exact", ParameterValue::String("exact".to_owned())),
        ("p=", ParameterValue::String(String::new())),
        ("p=[1]", ParameterValue::String("[1]".to_owned())),
    ] {
        let parameter = value::parameter(text);
        assert_eq!(parameter.map(|parameter| parameter.value), Ok(expected));
    }
}

#[test]
fn a_package_index_has_one_address_however_it_is_written() {
    for (text, page) in [
        (
            "https://mirror.example/simple/",
            "https://mirror.example/simple/onnxruntime/",
        ),
        (
            "https://mirror.example/simple",
            "https://mirror.example/simple/onnxruntime/",
        ),
        (
            "HTTP://localhost:8080",
            "http://localhost:8080/onnxruntime/",
        ),
        // An environment variable may be set and empty.
        ("", "https://pypi.org/simple/onnxruntime/"),
    ] {
        let index: Result<IndexUrl, _> = text.parse();
        let project = index.map(|index| index.project("onnxruntime").to_string());
        assert_eq!(project, Ok(page.to_owned()));
    }
}

#[test]
fn the_shape_of_an_input_is_its_sizes() {
    let shape = |text| {
        let shape = value::input_shape(text)?;
        assert_eq!(shape.to_string(), text);
        Ok::<_, String>(shape.into_pair())
    };
    let sizes = [Some(1), None, Some(640)];
    let sizes = sizes.map(|size| size.map_or(Dimension::Variable, Dimension::Fixed));
    assert_eq!(
        shape("a=b=1x-1x640"),
        Ok(("a=b".to_owned(), sizes.to_vec()))
    );
    assert_eq!(shape("scalar="), Ok(("scalar".to_owned(), vec![])));
    for text in ["x", "x=1x", "x=1,2", "x=-2"] {
        let error = shape(text).err().unwrap_or_default();
        assert!(error.contains("such as image=1x3x640x640"), "{error}");
    }
}

#[test]
fn the_help_names_the_default_address_for_grpc() {
    let options = Options::command();
    let serve = options.find_subcommand("serve").unwrap();
    let mut arguments = serve.get_arguments();
    let grpc = arguments.find(|argument| argument.get_id() == "grpc");
    let help = grpc.and_then(clap::Arg::get_help).unwrap().to_string();
    assert!(help.contains(&DEFAULT_GRPC.to_string()), "{help}");
}

#[test]
fn the_help_names_the_default_address_for_metrics() {
    let options = Options::command();
    let serve = options.find_subcommand("serve").unwrap();
    let mut arguments = serve.get_arguments();
    let metrics = arguments.find(|argument| argument.get_id() == "metrics");
    let help = metrics.and_then(clap::Arg::get_help).unwrap().to_string();
    assert!(help.contains(&DEFAULT_METRICS.to_string()), "{help}");
}

#[test]
fn a_revocation_names_one_key_or_all_of_them() {
    let error = parse("tenant revoke acme --tenants d").err();
    let error = error.unwrap_or_default();
    assert!(error.contains("<--key <ID>|--all-keys>"), "{error}");
    assert!(parse("tenant revoke acme --all-keys --tenants d").is_ok());
    let both = "tenant revoke acme --all-keys --key 0123456789abcdef --tenants d";
    let error = parse(both).err().unwrap_or_default();
    assert!(error.contains("cannot be used with"), "{error}");
}

#[test]
fn every_limit_of_a_tenant_has_an_argument_that_also_removes_it() {
    let names = [
        "requests-per-second",
        "concurrency",
        "queue",
        "body-bytes",
        "tensor-bytes",
        "guest-milliseconds-per-second",
        "backend-milliseconds-per-second",
        "instance-bytes",
        "model-memory-bytes",
        "models",
        "stored-bytes",
    ];
    let changes = |value: &str| {
        let limits = names.map(|name| format!("--{name} {value}"));
        let line = format!("tenant set acme --tenants d {}", limits.join(" "));
        match parse(&line) {
            Ok(Command::Tenant(TenantCommandArgs {
                command: TenantCommand::Set(args),
            })) => args.limits.changes(),
            other => panic!("{other:?}"),
        }
    };
    let all = wisp_serving::tenants::limits::Limits::default().with(&changes("7"));
    let all = all.expect("the names are those of limits");
    let written = serde_json::to_value(all).unwrap_or_default();
    let written = written.as_object().map_or(0, serde_json::Map::len);
    assert_eq!(written, names.len());
    let none = all.with(&changes("none"));
    assert_eq!(none, Ok(wisp_serving::tenants::limits::Limits::default()));
    let error = parse("tenant set acme --models many --tenants d").err();
    assert!(error.unwrap_or_default().contains("`none`"));
    for isolation in ["worker", "none"] {
        let line = format!("tenant set acme --isolation {isolation} --tenants d");
        assert!(parse(&line).is_ok(), "{line}");
    }
    assert!(parse("tenant set acme --grants clock,random --tenants d").is_ok());
    assert!(parse("tenant set acme --grants files --tenants d").is_err());
}

#[test]
fn the_backend_of_a_bundle_may_be_given_by_its_earlier_name() {
    for line in [
        "bundle m --bundled-backend tract --backend rten",
        "bundle m --engine tract",
    ] {
        let Ok(Command::Bundle(args)) = parse(line) else {
            panic!("{line}");
        };
        assert_eq!(args.bundled_backend, BackendChoice::Tract);
        assert_eq!(args.repeated(), ["--bundled-backend", "tract"]);
    }
}
