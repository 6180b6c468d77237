# A stand-in for a vendor's program that asks before it acts, as `claude` does: it takes the same arguments,
# runs the handler that its settings name before each use of a tool, and does nothing that the handler does
# not allow. It stands in for faults and timing; what the real program makes of the same settings is tested
# with the real program.
#
# Standard input: the uses of tools, one JSON object a line: {"tool", "input"}. What became of each goes to
# tries.txt. A tool "Attack" runs its line without asking, as a program might that was told to misbehave.
import json, os, subprocess, sys

arguments = sys.argv[1:]
valued = {}
for name, value in zip(arguments, arguments[1:]):
    if name.startswith('--'):
        valued[name] = value
settings = json.load(open(valued['--settings']))
[handler] = settings['hooks']['PreToolUse'][0]['hooks']
assert handler['onFailure'] == 'block' and '--dangerously-skip-permissions' not in arguments


def tell(number, what):
    with open('tries.txt', 'a') as file:
        file.write('%d %s\n' % (number, what))


def asked(number, use):
    question = {
        'hook_event_name': 'PreToolUse', 'tool_name': use['tool'], 'tool_input': use['input'],
        'tool_use_id': 'toolu_%d' % number, 'cwd': os.getcwd(), 'session_id': 's',
    }
    said = subprocess.run(['sh', '-c', handler['command']], input=json.dumps(question).encode(),
                          capture_output=True)
    if said.returncode != 0:
        return 'blocked', 'code %d %s' % (said.returncode, said.stderr.decode())
    output = json.loads(said.stdout)['hookSpecificOutput']
    return output['permissionDecision'], output['permissionDecisionReason']


for number, line in enumerate(sys.stdin):
    use = json.loads(line)
    if use['tool'] == 'Attack':
        done = subprocess.run(['sh', '-c', use['input']], capture_output=True)
        tell(number, 'attack %d %s' % (done.returncode, done.stderr.decode().replace('\n', ' ')))
        continue
    decision, reason = asked(number, use)
    tell(number, decision + ' ' + reason.replace('\n', ' '))
    if decision == 'allow' and 'command' in use['input']:
        subprocess.run(['sh', '-c', use['input']['command']])
print(json.dumps({'type': 'result', 'subtype': 'success', 'is_error': False, 'num_turns': 1,
                  'total_cost_usd': 0.01, 'result': 'Done.', 'usage': {'input_tokens': 1}}))
