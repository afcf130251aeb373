//! Scripts as programs of their own: `axion run script.py -- args`.

use std::io::Write;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{Running, Script, axion, lives, run, until};

fn command(script: &Script, arguments: &[&str]) -> Command {
    let mut command = axion();
    command.current_dir(script.folder()).args(["run", "script.py"]).args(arguments);
    command
}

/// Says its name, arguments and input, and ends with a code.
const TELLS: &str = "\
import os, sys
import beside
print(__name__, sys.argv, os.path.basename(sys.path[0]) == os.path.basename(os.getcwd()), beside.here)
print('to stderr', file=sys.stderr)
for line in sys.stdin:
    print('line', line, end='')
sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
";

fn tells() -> Script {
    let script = Script::new(TELLS);
    std::fs::write(script.folder().join("beside.py"), "here = 'beside'\n").expect("written");
    script
}

#[test]
fn a_script_with_arguments_is_main_and_has_standard_input_its_output_and_its_exit_code() {
    let script = tells();
    let mut child = Running::start(command(&script, &["--", "7", "--flag", "ä b"]).stdin(Stdio::piped()));
    child.0.stdin.take().expect("piped").write_all(b"one\ntwo\n").expect("written");
    let (code, out) = child.ends();
    let said = "__main__ ['script.py', '7', '--flag', 'ä b'] True beside\nline one\nline two\n";
    assert_eq!((code, out.as_str()), (Some(7), said));
    // The same as Python says, with nothing added.
    let python =
        run(Command::new("python3").current_dir(script.folder()).args(["script.py", "7"]).stdin(Stdio::null()));
    let ran = run(&mut command(&script, &["--", "7"]));
    assert_eq!((ran.code, ran.out, ran.err), (python.code, python.out, python.err));
}

#[test]
fn a_script_without_an_entry_point_is_a_program_and_one_with_an_entry_point_is_one_behind_two_dashes() {
    let ran = run(&mut command(&tells(), &[]));
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "__main__ ['script.py'] True beside\n"), "{}", ran.err);
    let both = Script::new(
        "import sys\ndef main(params, context):\n    return 'entry'\nif __name__ == '__main__':\n    print(sys.argv[1:])\n",
    );
    assert_eq!(run(&mut command(&both, &[])).out, "\"entry\"\n");
    assert_eq!(run(&mut command(&both, &["--"])).out, "[]\n");
    assert_eq!(run(&mut command(&both, &["--", "x"])).out, "['x']\n");
    // An entry point that only Python sees.
    let imported = Script::new("from beside import main\n");
    std::fs::write(imported.folder().join("beside.py"), "def main(params):\n    return params\n").expect("written");
    assert_eq!(run(&mut command(&imported, &["-p", "a=1"])).out, "{\"a\": 1}\n");
}

#[test]
fn main_gets_what_it_takes() {
    for (text, out) in [
        ("def main():\n    return 1\n", "1\n"),
        ("def main(params):\n    return params\n", "{\"a\": 1}\n"),
        ("def main(argv=None):\n    return argv\n", "null\n"),
        ("async def main(params, *, context):\n    return context.attempt\n", "1\n"),
    ] {
        let ran = run(&mut command(&Script::new(text), &["-p", "a=1"]));
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), out), "{text}: {}", ran.err);
    }
    let ran = run(&mut command(&Script::new("def main(a, b, c):\n    return 1\n"), &[]));
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("(a, b, c)") && ran.err.contains("axion run script.py -- ARGUMENTS"), "{}", ran.err);
}

#[test]
fn an_end_by_a_signal_an_exception_and_a_syntax_error_have_the_codes_of_a_shell() {
    let killed = Script::new("import os\nprint('before', flush=True)\nos.kill(os.getpid(), 9)\n");
    let ran = run(&mut command(&killed, &["--"]));
    assert_eq!((ran.code, ran.out.as_str()), (Some(137), "before\n"));
    assert_eq!(ran.err, "error: the script was ended by signal 9\n");
    for (text, words) in [("1 / 0\n", "ZeroDivisionError"), ("def (\n", "SyntaxError")] {
        let script = Script::new(text);
        let ran = run(&mut command(&script, &[]));
        let python = run(Command::new("python3").current_dir(script.folder()).arg("script.py"));
        assert_eq!((ran.code, ran.out.as_str(), &ran.err), (Some(1), "", &python.err));
        assert!(ran.err.contains(words), "{}", ran.err);
    }
}

#[test]
fn parameters_are_not_for_programs_and_the_message_says_what_is() {
    let script = tells();
    let ran = run(&mut command(&script, &["-p", "a=1"]));
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("as a program it takes arguments: axion run script.py -- ARGUMENTS"), "{}", ran.err);
    let ran = run(&mut command(&script, &["-p", "a=1", "--", "x"]));
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("give it arguments, behind --"), "{}", ran.err);
}

#[test]
fn a_program_has_limits_retries_and_a_record_as_any_task() {
    let counts = "import sys\nwith open('count', 'a+') as file:\n    file.write('x')\n    file.seek(0)\n    n = len(file.read())\n\
                  print('run', n)\nsys.exit(0 if n == 3 else 5)\n";
    let script = Script::new(counts);
    let ran = run(&mut command(&script, &["--retries", "2", "--retry-wait", "1ms", "--"]));
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "run 1\nrun 2\nrun 3\n"), "{}", ran.err);
    assert!(ran.err.contains("attempt 2 failed: ") && ran.err.contains("exit code 5"), "{}", ran.err);

    let script = Script::new("print('all', 'of it')\n");
    let ran = run(&mut command(&script, &["--output", "json"]));
    let record: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&record["outcome"], &record["data"]), (&"succeeded".into(), &"all of it\n".into()));
    assert!(record["script"].as_str().is_some_and(|script| script.ends_with("/script.py")), "{}", record["script"]);

    let sleeps = Script::new("import time\ntime.sleep(1000)\n");
    let ran = run(&mut command(&sleeps, &["--timeout", "300ms", "--"]));
    assert_eq!(ran.code, Some(124), "{}", ran.err);
}

#[test]
fn l6_a_signal_interrupts_the_program_as_ctrl_c_does_and_nothing_stays() {
    let text = "import os, sys, time\nprint(os.getpid(), file=sys.stderr, flush=True)\n\
                try:\n    time.sleep(1000)\nfinally:\n    print('cleaned up', flush=True)\n";
    let script = Script::new(text);
    let mut running = Running::start(&mut command(&script, &["--"]));
    let pid = running.pids()[0];
    running.signal(Signal::INT);
    let (code, out) = running.ends();
    assert_eq!((code, out.as_str()), (Some(130), "cleaned up\n"));
    until("the program has ended", || !lives(pid));
}
