# The attacks of an agent, from inside its pod. Each case returns what stopped it, or raises Through.
import base64, concurrent.futures, ctypes, http.client, json, os, select, signal, socket, stat, time

P = json.load(open("/tmp/go.json"))
FOLDER = "/var/run/enact/token/"
TOKEN = open(FOLDER + "token").read().strip()
RESULT = {"subjectUid": P["uid"], "attempt": 1, "report": {"reason": "Succeeded"}, "durationMs": 1}
CASES = {}


class Through(Exception):
    """The attack succeeded."""


class Skip(Exception):
    """The attack cannot be tried."""


def attack(name):
    def register(case):
        CASES[name] = case
        return case

    return register


def refused(action, harm):
    """Returns the error of an action that must fail."""
    try:
        action()
    except OSError as error:
        return str(error)
    raise Through(harm)


def system_call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def status_of_process(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith(name + ":"))


# The node


@attack("be-root")
def be_root():
    if os.getuid() == 0:
        raise Through("the agent is root")
    return refused(lambda: os.setuid(0), "the agent became root")


@attack("change-the-image")
def change_the_image():
    return refused(lambda: open("/usr/local/bin/enact-attack", "w").close(), "a file of the image was written")


@attack("use-capabilities")
def use_capabilities():
    sets = {name: status_of_process(name) for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]}
    left = [f"{name} {value}" for name, value in sets.items() if int(value, 16)]
    if left:
        raise Through(", ".join(left))
    return "all sets of capabilities are empty"


@attack("gain-privileges")
def gain_privileges():
    if status_of_process("NoNewPrivs") != "1":
        raise Through("NoNewPrivs is not set")
    return "NoNewPrivs is set"


@attack("call-the-kernel")
def call_the_kernel():
    if status_of_process("Seccomp") != "2":
        raise Through("no seccomp profile")
    return "a seccomp profile filters system calls"


@attack("make-a-namespace")
def make_a_namespace():
    return refused(lambda: system_call("unshare", 0x10000000), "a user namespace was made")


@attack("mount-a-file-system")
def mount_a_file_system():
    mount = lambda: system_call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
    return refused(mount, "a file system was mounted")


@attack("send-raw-packets")
def send_raw_packets():
    return refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), "a raw socket was opened")


@attack("change-the-kernel")
def change_the_kernel():
    return refused(lambda: open("/proc/sys/kernel/core_pattern", "w").write("|/tmp/x"), "a sysctl was written")


@attack("open-a-device")
def open_a_device():
    names = [name for name in os.listdir("/dev") if os.path.exists("/dev/" + name)]
    found = [name for name in names if stat.S_ISBLK(os.stat("/dev/" + name).st_mode) or name in ("mem", "kmsg")]
    if found:
        raise Through(f"the pod has {found}")
    return "the pod has no disks and no memory devices"


@attack("see-other-processes")
def see_other_processes():
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = open(f"/proc/{process}/cmdline", "rb").read()
        except OSError:
            continue
        if b"kubelet" in line or b"containerd" in line:
            raise Through("the pod sees processes of the node")
    return "the pod has its own process namespace"


# The runner


@attack("read-the-runners-environment")
def read_the_runners_environment():
    return refused(lambda: open("/proc/1/environ", "rb").read(), "the runner's environment was read")


@attack("read-the-runners-memory")
def read_the_runners_memory():
    refused(lambda: system_call("ptrace", 16, 1, None, None), "the runner was traced")
    return refused(lambda: open("/proc/1/mem", "rb").read(1), "the runner's memory was opened")


@attack("find-keys-in-the-environment")
def find_keys_in_the_environment():
    found = [name for name in os.environ if name.startswith(("ENACT_ASSIGNMENT", "ENACT_SECRET_", "ENACT_ENV_"))]
    if found:
        raise Through(f"the agent has {found}")
    return "the agent has only its own variables"


@attack("kill-the-runner")
def kill_the_runner():
    for number in [signal.SIGKILL, signal.SIGSTOP]:
        os.kill(1, number)
    time.sleep(0.2)
    state = open("/proc/1/stat").read().rsplit(")", 1)[1].split()[0]
    if state in "TtZX":
        raise Through(f"the runner has the state {state}")
    return "the kernel protects the first process of a pod"


@attack("use-the-api-servers-token")
def use_the_api_servers_token():
    if os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"):
        raise Through("the pod has a token of its service account")
    for name in sorted(name for name in os.listdir(FOLDER) if name.endswith("token")):
        body = open(FOLDER + name).read().split(".")[1]
        audiences = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["aud"]
        if not set(audiences) <= {"enact-server", "enact-gateway", "enact-cache"}:
            raise Through(f"{name} is for {audiences}")
    return "every token is for one of Enact's services"


# The network


def connected(host, port):
    """Returns why a connection fails; None if it is made."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Skip(f"{host}: {error}") from error
    try:
        socket.create_connection(addresses[0][4][:2], timeout=4).close()
    except OSError as error:
        return str(error)
    return None


def unreachable(target):
    if not P[target]:
        raise Skip(f"the installation has no such address: {target}")
    if connected(P["server"], 8080) is not None:
        raise Through("the pod cannot even reach the server, so nothing is known")
    host, port = P[target].rsplit(":", 1)
    failure = connected(host, int(port))
    if failure is None:
        raise Through(f"{P[target]} can be reached")
    return f"{P[target]}: {failure}"


for name, target in {
    "reach-the-api-server": "api",
    "reach-the-kubelet": "kubelet",
    "reach-postgres": "postgres",
    "reach-the-webhook": "webhook",
    "reach-the-metrics": "metrics",
    "reach-the-reading-port": "reading",
    "reach-outside": "outside",
}.items():
    CASES[name] = lambda target=target: unreachable(target)


# The server


def ask(host, port, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection(host, port, timeout=20)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read(1 << 16).decode(errors="replace")


def announced(host, port, path, length, token):
    """Sends the head of a request with a body of this length, and returns the answer."""
    connection = http.client.HTTPConnection(host, port, timeout=20)
    connection.putrequest("POST", path)
    for name, value in [("Authorization", "Bearer " + token), ("Content-Type", "application/json")]:
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    try:
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 16).decode(errors="replace")
    except (http.client.HTTPException, OSError) as error:
        return 0, f"no answer: {error}"


def expect(answer, statuses, word=""):
    status, text = answer
    if status in statuses and word in text:
        return f"{status} {text[:120]}"
    raise Through(f"the answer is {status} {text[:200]}")


def deliver(uid=P["uid"], attempt=1, token=TOKEN, body=None):
    path = f"/v1/attempts/{uid}/{attempt}/result"
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = "Bearer " + token
    body = json.dumps(body or {**RESULT, "subjectUid": uid, "attempt": attempt})
    return ask(P["server"], 8080, "POST", path, headers, body)


def forged():
    """Returns the token with another signature."""
    end = "A" * 8
    return TOKEN[:-8] + (end if not TOKEN.endswith(end) else "B" * 8)


@attack("deliver-before-the-runner")
def deliver_before_the_runner():
    return expect(deliver(), [401, 403], "not-the-runner")


@attack("register-as-the-runner")
def register_as_the_runner():
    headers = {"Authorization": "Bearer " + TOKEN, "Content-Type": "text/plain"}
    path = f"/v1/attempts/{P['uid']}/1/runner"
    return expect(ask(P["server"], 8080, "POST", path, headers, "sha256:" + "0" * 64), [401, 403], "not-the-runner")


@attack("deliver-for-another-task")
def deliver_for_another_task():
    return expect(deliver(uid="00000000-0000-4000-8000-000000000000"), [403], "subject-mismatch")


@attack("deliver-for-another-attempt")
def deliver_for_another_attempt():
    return expect(deliver(attempt=2), [403], "subject-mismatch")


@attack("deliver-two-subjects")
def deliver_two_subjects():
    other = {**RESULT, "subjectUid": "00000000-0000-4000-8000-000000000000"}
    return expect(deliver(body=other), [403], "subject-mismatch")


@attack("deliver-without-a-token")
def deliver_without_a_token():
    return expect(deliver(token=None), [401], "token-refused")


@attack("deliver-with-a-forged-token")
def deliver_with_a_forged_token():
    return expect(deliver(token=forged()), [401], "token-refused")


@attack("deliver-with-the-gateways-token")
def deliver_with_the_gateways_token():
    return expect(deliver(token=gateway_token()), [401], "token-refused")


@attack("deliver-a-huge-result")
def deliver_a_huge_result():
    return expect(announced(P["server"], 8080, f"/v1/attempts/{P['uid']}/1/result", 1 << 30, TOKEN), [0, 413])


@attack("deliver-a-document")
def deliver_a_document():
    headers = {"Authorization": "Bearer " + TOKEN, "Content-Type": "text/markdown"}
    return expect(ask(P["server"], 8080, "POST", f"/v1/documents/{P['uid']}", headers, "# Forged"), [403], "subject-mismatch")


@attack("ask-for-an-assignment")
def ask_for_an_assignment():
    headers = {"Authorization": "Bearer " + TOKEN}
    return expect(ask(P["server"], 8080, "GET", "/v1/assignment", headers), [403], "subject-mismatch")


@attack("read-a-strange-checkpoint")
def read_a_strange_checkpoint():
    path = "/v1/attempts/00000000-0000-4000-8000-000000000000/2/checkpoint"
    headers = {"Authorization": "Bearer " + TOKEN, "X-Enact-Runner-Key": "a guess"}
    return expect(ask(P["server"], 8080, "GET", path, headers), [403], "subject-mismatch")


@attack("keep-a-checkpoint")
def keep_a_checkpoint():
    headers = {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json"}
    path = f"/v1/attempts/{P['uid']}/1/checkpoint"
    return expect(ask(P["server"], 8080, "POST", path, headers, "{}"), [400, 403])


@attack("read-the-record-by-the-delivery-port")
def read_the_record_by_the_delivery_port():
    path = f"/v1/namespaces/{P['other']}/plans/theirs/revisions"
    return expect(ask(P["server"], 8080, "GET", path, {"Authorization": "Bearer " + TOKEN}), [404, 405])


@attack("take-all-connections")
def take_all_connections():
    sockets, closed = [], 0
    try:
        for _ in range(300):
            sockets.append(socket.create_connection((P["server"], 8080), timeout=5))
        end = time.monotonic() + 8
        while not closed and time.monotonic() < end:
            readable, _, _ = select.select(sockets, [], [], 0.5)
            closed = len(readable)
    except OSError as error:
        closed = str(error)
    finally:
        for one in sockets:
            one.close()
    if not closed:
        raise Through(f"{len(sockets)} connections of one pod stay open")
    return f"the server closes connections beyond the share of a client ({closed} of {len(sockets)})"


@attack("send-a-slow-head")
def send_a_slow_head():
    if not P["slow"]:
        raise Skip("left out of the fast part")
    connection = socket.create_connection((P["server"], 8080), timeout=20)
    begun = time.monotonic()
    connection.sendall(b"POST /v1/attempts/a/1/result HTTP/1.1\r\n")
    try:
        while time.monotonic() - begun < 90:
            connection.sendall(b"x-slow: 1\r\n")
            time.sleep(1)
    except OSError:
        return f"the server closed the connection after {time.monotonic() - begun:.0f} s"
    raise Through("the server waits for a slow head for ever")


# The gateway


def gateway_token():
    try:
        return open(FOLDER + "gateway-token").read().strip()
    except OSError:
        raise Skip("the installation has no gateway") from None


def chat(model="gpt-5", token=None, path="/v1/chat/completions", **fields):
    token = gateway_token() if token is None else token
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = "Bearer " + token
    message = {"role": "user", "content": "hello"}
    return ask(P["gateway"], 8090, "POST", path, headers, json.dumps({"model": model, "messages": [message], **fields}))


@attack("use-no-token")
def use_no_token():
    gateway_token()
    return expect(chat(token=""), [401])


@attack("use-a-forged-token")
def use_a_forged_token():
    gateway_token()
    return expect(chat(token=forged()), [401])


@attack("use-the-servers-token")
def use_the_servers_token():
    gateway_token()
    return expect(chat(token=TOKEN), [401])


@attack("use-another-model")
def use_another_model():
    return expect(chat(model="gpt-4"), [403], "ModelNotAllowed")


@attack("use-a-path-as-model")
def use_a_path_as_model():
    said = ""
    for model in ["../../v1/models", "gpt-5/../../x", "http://169.254.169.254/", "*", "x" * 5000]:
        said = expect(chat(model=model), [400, 403, 404])
    return said


@attack("search-by-the-provider")
def search_by_the_provider():
    expect(chat(tools=[{"type": "web_search"}]), [400], "hostedTools")
    return expect(chat(web_search_options={}, plugins=[{"id": "web"}]), [400], "hostedTools")


@attack("use-the-gateway-as-proxy")
def use_the_gateway_as_proxy():
    gateway_token()
    connection = socket.create_connection((P["gateway"], 8090), timeout=20)
    target = f"http://{P['metrics']}/metrics"
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    line = connection.recv(4096).split(b"\r\n")[0].decode(errors="replace")
    if " 200" in line:
        raise Through(line)
    return line


@attack("send-a-huge-request")
def send_a_huge_request():
    return expect(announced(P["gateway"], 8090, "/v1/chat/completions", 3 << 30, gateway_token()), [0, 400, 413])


@attack("use-a-private-provider")
def use_a_private_provider():
    status, text = chat()
    if status == 200 or "answered" in text:
        raise Through(f"the gateway reached an address inside of the cluster: {status} {text[:200]}")
    return expect((status, text), [403, 502])


# The report


@attack("forge-the-report")
def forge_the_report():
    """The suite looks for the planted output in the Task."""
    report = {"reason": "Succeeded", "commit": "0" * 40, "outputs": {"planted": "by-the-agent"}}
    with open("/dev/termination-log", "w") as log:
        log.write(json.dumps(report))
    return "written"


def verdict(case):
    try:
        return "stopped", case()
    except Skip as skip:
        return "skipped", str(skip)
    except Through as through:
        return "not stopped", str(through)
    except Exception as error:
        return "not stopped", f"the attack itself failed: {type(error).__name__}: {error}"


# The suite looks for the token in the log.
print("CREDENTIAL", TOKEN, flush=True)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    network = {name: pool.submit(verdict, CASES[name]) for name in CASES if name.startswith("reach-")}
    verdicts = {name: network[name].result() for name in network}
# The last one takes the connections that the others need.
ordered = sorted((name for name in CASES if name not in verdicts), key="take-all-connections".__eq__)
for name in ordered:
    verdicts[name] = verdict(CASES[name])
for name, (kind, said) in verdicts.items():
    print("ATTACK", json.dumps({"name": name, "verdict": kind, "said": said}), flush=True)
