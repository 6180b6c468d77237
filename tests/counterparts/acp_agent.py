# A stand-in for a program that speaks the Agent Client Protocol, version 1: it asks for permission before each
# use of a tool, and does nothing that was not allowed once. Argument: a file with the uses, one JSON object a
# line: {"tool", "input"}. What became of each goes to tries.txt. A tool "Write file" asks the client for what
# this one does not offer.
import json, os, subprocess, sys

OPTIONS = [
    {'optionId': 'always', 'name': 'Always', 'kind': 'allow_always'},
    {'optionId': 'once', 'name': 'Once', 'kind': 'allow_once'},
    {'optionId': 'no', 'name': 'No', 'kind': 'reject_once'},
]
numbers = iter(range(100, 1000))


def say(message):
    sys.stdout.write(json.dumps({'jsonrpc': '2.0', **message}) + '\n')
    sys.stdout.flush()


def ask(method, params):
    number = next(numbers)
    say({'id': number, 'method': method, 'params': params})
    answer = json.loads(sys.stdin.readline())
    assert answer['id'] == number, answer
    return answer


def tell(number, what):
    with open('tries.txt', 'a') as file:
        file.write('%d %s\n' % (number, what))


def use(session, number, tool, given):
    call = {'toolCallId': 'call_%d' % number, 'title': tool, 'rawInput': given,
            'kind': 'execute' if 'command' in given else 'edit', 'status': 'pending'}
    say({'method': 'session/update', 'params': {
        'sessionId': session, 'update': {'sessionUpdate': 'tool_call', **call}}})
    if tool == 'Write file':
        answer = ask('fs/write_text_file', {'sessionId': session, 'path': os.getcwd() + '/forged', 'content': 'x'})
        return tell(number, 'error' if 'error' in answer else 'done')
    answer = ask('session/request_permission', {
        'sessionId': session, 'toolCall': {'toolCallId': call['toolCallId']}, 'options': OPTIONS})
    outcome = answer['result']['outcome']
    tell(number, outcome.get('optionId', outcome['outcome']))
    if outcome.get('optionId') == 'once':
        subprocess.run(['sh', '-c', given['command']])


for line in sys.stdin:
    message = json.loads(line)
    if message['method'] == 'initialize':
        say({'id': message['id'], 'result': {'protocolVersion': 1, 'agentCapabilities': {}}})
    elif message['method'] == 'session/new':
        assert message['params']['cwd'] == os.getcwd(), message
        say({'id': message['id'], 'result': {'sessionId': 's'}})
    elif message['method'] == 'session/prompt':
        assert '# Requirements' in message['params']['prompt'][0]['text']
        for number, one in enumerate(open(sys.argv[1])):
            planned = json.loads(one)
            use('s', number, planned['tool'], planned['input'])
        say({'method': 'session/update', 'params': {'sessionId': 's', 'update': {
            'sessionUpdate': 'agent_message_chunk', 'content': {'type': 'text', 'text': 'It is done.'}}}})
        say({'id': message['id'], 'result': {'stopReason': 'end_turn'}})
