import base64, http.client, json, os, socket, time

HOST, PORT = "enact-gateway.enact-system.svc", 8090
TOKEN = open("/var/run/enact/token/gateway-token").read().strip()

def request(model="gpt-5", prompt="# Task IDLE\n", stream=False):
    message = {"role": "user", "content": prompt}
    return {"model": model, "messages": [message], "max_tokens": 100, "stream": stream}

def send(path, body, token=TOKEN, headers={}):
    connection = http.client.HTTPConnection(HOST, PORT, timeout=120)
    own = {"content-type": "application/json", **headers}
    if token is not None:
        own["authorization"] = "Bearer " + token
    connection.request("POST", path, json.dumps(body), own)
    return connection.getresponse()

def ask(path, body, token=TOKEN, headers={}):
    answer = send(path, body, token, headers)
    return answer.status, answer.read(1 << 20).decode(errors="replace")

def chat(model="gpt-5", token=TOKEN, prompt="# Task IDLE\n"):
    return ask("/v1/chat/completions", request(model, prompt), token)

def drain(body):
    """Returns how many bytes an answer has, and whether it came to its end."""
    answer, size = send("/v1/chat/completions", body), 0
    tail = b""
    try:
        while part := answer.read(1 << 16):
            size += len(part)
            tail = (tail + part)[-64:]
    except (http.client.HTTPException, OSError):
        return size, False
    return size, b"[DONE]" in tail

def connect():
    return socket.create_connection((HOST, PORT), timeout=60)

def raw(data):
    """Sends bytes, and returns the status of the answer."""
    connection = connect()
    try:
        connection.sendall(data)
        line = connection.recv(100)
    except OSError:
        return None
    return int(line.split()[1]) if line.startswith(b"HTTP/1") else None
