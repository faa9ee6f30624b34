"""`./scripts/attack`: reads the files of cases, runs every shot on every listener that it concerns, and says what passed,
what failed, and what could not be run and why."""

import argparse
import concurrent.futures
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time

import budget
import cases
import gateway
import handler
import runner
import standin

HERE = os.path.dirname(os.path.abspath(__file__))
OWN_CASES = os.path.join(HERE, "cases.json")
MORE_CASES = "TENTERHOOK_ATTACK_CASES"
PROGRESS_S = 30


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="./scripts/attack", description=__doc__)
    parser.add_argument("--cases", action="append", metavar="FILE",
                        help="run this file instead of the project's own cases and those of $" + MORE_CASES)
    parser.add_argument("--only", action="append", metavar="ID", help="run only these cases; `HTTP-*` is understood")
    parser.add_argument("--seed", type=int, default=1, help="of ids, noise and secrets (default 1)")
    parser.add_argument("--binary", metavar="PATH", help="the gateway to attack")
    parser.add_argument("--control", nargs="?", const="stand-in", choices=["stand-in", "open"],
                        help="what the cases have to find out: a stand-in that accepts everything, or a gateway whose "
                             "sources ask for no signature (`open`)")
    parser.add_argument("--json", metavar="FILE", help="write the result there, too")
    parser.add_argument("--jobs", type=int, default=3, help="cases at the same time, where they do not measure anything")
    parser.add_argument("--full", action="store_true", help="as many requests and seconds as the cases say, however many")
    parser.add_argument("--quick", action="store_true",
                        help="without the cases that are a load or measure something; a variant on one listener only")
    parser.add_argument("--verbose", action="store_true", help="say which sentences under `also` nothing checked")
    return parser.parse_args()


def files(given):
    """The files to run."""
    if given:
        return given
    return [OWN_CASES] + [path for path in os.environ.get(MORE_CASES, "").split(":") if path]


def read(given, patterns):
    """The cases of all files. The same id in two files is two cases."""
    found = []
    for path in files(given):
        found += cases.chosen(cases.load(path), patterns)
    return found


class Progress:
    """One line that changes, on a terminal; else a line for each case that does not pass, and one now and then."""

    def __init__(self, total):
        self.total, self.done, self.lock = total, 0, threading.Lock()
        self.said = time.monotonic()
        self.is_terminal = sys.stderr.isatty()

    def finished(self, result):
        """Another case is done."""
        with self.lock:
            self.done += 1
            lines = []
            for label, why in result.not_run:
                lines.append(f"not run: {label}, {why}")
            for label, listener, problem, seconds in result.again:
                lines.append(f"again: {label} ({listener}), since the machine stood still for {seconds} s: {problem}")
            for label, listener, problem in result.problems:
                lines.append(f"FAILED {label} ({listener}): {problem[:1000]}")
            if self.is_terminal:
                print(f"\r\x1b[K{self.done}/{self.total} {result.case_id}", end="", file=sys.stderr, flush=True)
                if lines:
                    print("\r\x1b[K", end="", file=sys.stderr)
            elif time.monotonic() - self.said > PROGRESS_S:
                self.said = time.monotonic()
                print(f"{self.done} of {self.total} cases", file=sys.stderr, flush=True)
            for line in lines:
                print(line, flush=True)

    def end(self):
        """Clears the line."""
        if self.is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def run_all(chosen, fixture, options):
    """Every case: first those that only ask, several at a time; then those that measure, one by one."""
    progress = Progress(sum(not (options.quick and runner.measures(case)) for case in chosen))
    results = []
    make = standin.maker(fixture) if options.control == "stand-in" else None
    pool = runner.Pool(fixture, options.seed, chosen, make, options.quick)
    try:
        quick = [case for case in chosen if not runner.measures(case)]
        alone = [case for case in chosen if runner.measures(case)]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as executor:
            for result in executor.map(lambda case: pool.run(case, progress), quick):
                results.append(result)
        for case in alone if not options.quick else []:
            results.append(pool.run(case, progress))
    finally:
        pool.close()
        progress.end()
    return results


def main():
    """Runs, and returns the exit status."""
    options = arguments()
    try:
        chosen = read(options.cases, options.only)
    except cases.BadFile as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not chosen:
        print("error: no case fits", file=sys.stderr)
        return 2
    budget.is_full, budget.is_quick = options.full, options.quick
    # Whoever ends a run ends its gateways, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    directory = tempfile.mkdtemp(prefix="tenterhook-attack-", dir=fast_directory())
    kept = True
    try:
        # Gateways are started in directories of their own.
        binary = options.binary and os.path.abspath(options.binary)
        fixture = gateway.Fixture(binary, options.seed, os.path.join(directory, "run"), options.control == "open")
        if options.control != "stand-in" and (why := does_not_start(fixture)):
            print(f"error: the gateway does not start with the sources of the fixture: {why}", file=sys.stderr)
            return 2
        results = run_all(chosen, fixture, options)
        kept = any(result.problems for result in results) and not options.control
    finally:
        if not kept:
            shutil.rmtree(directory, ignore_errors=True)
    return report(results, options, time.monotonic() - started, directory if kept else None)


def does_not_start(fixture):
    """Why the gateway does not start with what all cases need; `None` if it does."""
    listener = handler.Handler()
    try:
        gateway.Gateway(fixture, listener).stop()
    except gateway.StartFailed as why:
        return str(why)
    finally:
        listener.close()
    return None


def fast_directory():
    """Where stores are put: in memory where there is room, since nothing here is about what a disk keeps."""
    shared = "/dev/shm"
    if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 4 << 30:
        return shared
    return None


def report(results, options, seconds, directory):
    """The end of the output, and the file."""
    passed = [result for result in results if result.ran and not result.problems]
    failed = [result for result in results if result.problems]
    not_run = [(label, why) for result in results for label, why in result.not_run]
    unchecked = sorted({(result.case_id, sentence) for result in results for sentence in result.unchecked})
    controls = sum(result.control_failures for result in results)
    if options.verbose:
        for case_id, sentence in unchecked:
            print(f"not checked: {case_id}, {sentence!r}")
        for result in sorted(results, key=lambda result: -result.seconds)[:12]:
            print(f"took {result.seconds:.1f} s: {result.case_id}")
    # Behind an open door the refusals of what is no HTTP are still right.
    refusals = [result for result in results if result.ran and result.is_refusal
                and (options.control != "open" or result.is_of_signature)]
    missed = [result for result in refusals if not result.problems]
    caught = len(refusals) - len(missed)
    is_caught = not refusals or caught >= 0.6 * len(refusals)
    if options.json:
        document = {
            "passed": len(passed), "failed": len(failed), "shots": sum(result.shots for result in results),
            "not_run": [{"id": label, "why": why} for label, why in not_run], "control_failures": controls,
            "seconds": round(seconds, 1), "seed": options.seed, "rss_max_bytes": max(
                [result.rss for result in results], default=0),
            "failures": [{"id": label, "listener": listener, "problem": problem}
                         for result in failed for label, listener, problem in result.problems],
            "slowest": {result.case_id: round(result.seconds, 1)
                        for result in sorted(results, key=lambda result: -result.seconds)[:12]},
            "shortened": budget.shortened,
            "again": [{"id": label, "listener": listener, "problem": problem, "stood_still_s": seconds}
                      for result in results for label, listener, problem, seconds in result.again],
            "unchecked": [{"id": case_id, "also": sentence} for case_id, sentence in unchecked],
        }
        if options.control:
            document["control"] = {"refusals": len(refusals), "caught": caught, "is_caught": is_caught}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1, ensure_ascii=False)
            file.write("\n")
    for note in budget.shortened:
        print(f"shortened: {note} (all of it with --full)")
    for result in failed if not options.control else []:
        arguments = " ".join(f"--cases {path}" for path in options.cases or [])
        print(f"again: ./scripts/attack {arguments}{' ' if arguments else ''}--only {result.case_id} "
              f"--seed {options.seed}")
    if directory:
        print(f"logs and stores: {directory}")
    print(f"{len(results)} cases, {sum(result.shots for result in results)} shots with variants and listeners, "
          f"{controls} control requests failed, {len(unchecked)} sentences not checked by a machine, {seconds:.0f} s")
    if options.control:
        print(f"control: {caught} of {len(refusals)} refusals were found missing: "
              + ("caught" if is_caught else "NOT CAUGHT"))
    if options.quick:
        print("quick: without loads and measurements")
    print(f"{len(passed)} passed, {len(failed)} failed")
    if not any(result.ran for result in results):
        print("error: nothing was run", file=sys.stderr)
        return 2
    if options.control:
        return 0 if is_caught else 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
