const key = 'seewhy-reviewer';
const kept = () => { try { return localStorage.getItem(key) || ''; } catch { return ''; } };
const place = () => { try { return JSON.parse(decodeURIComponent(location.hash.slice(1))); } catch { return {}; } };
const root = element.querySelector('[data-root]');
const status = element.querySelector('[data-status]');
const name = element.querySelector('[data-name]');
let state = { part: 'train', image: '', ...place() };
let queue = Promise.resolve();
if (kept()) name.value = kept();

const current = () => root.querySelector('.is-current');
const focusOn = (li) => {
  if (!li) return;
  root.querySelectorAll('.is-current').forEach((one) => { one.classList.remove('is-current'); one.removeAttribute('aria-current'); });
  li.classList.add('is-current');
  li.setAttribute('aria-current', 'true');
  li.focus({ preventScroll: false });
};
const say = (text, problem) => { status.textContent = text; status.className = problem ? 'seewhy-problem' : 'seewhy-live'; };

// One after the other: what a key means depends on what the keys before it have done.
const ask = (make) => {
  queue = queue.then(async () => {
    const request = make();
    if (!request) return;
    try { localStorage.setItem(key, name.value); } catch { /* a browser that keeps nothing */ }
    if (request.do === 'rules') say('Scoring the descriptions by the other rules: this takes up to some minutes. The command says how far it is.', false);
    let reply;
    try {
      reply = await server.act(JSON.stringify({ who: name.value, ...state, ...request }));
      if (!reply || typeof reply.html !== 'string') throw new Error('no answer');
    } catch (error) {
      say('Not saved: the page has no answer from the command. Start it again, and press the key once more.', true);
      return;
    }
    say(reply.said, reply.problem);
    if (reply.problem && !reply.html) return;
    state = { part: reply.part, image: reply.image };
    history.replaceState(null, '', '#' + encodeURIComponent(JSON.stringify(state)));
    root.innerHTML = reply.html;
    root.dataset.count = reply.count;
    if (request.do !== 'show') focusOn(current());
  });
};

const wording = (button) => button.closest('details')?.querySelector('[data-wording]')?.value;
const ticked = (what) => [...root.querySelectorAll(`[data-${what}]:checked`)].map((box) => box.closest('tr').dataset.phrase);
const request = (action, button) => {
  const concept = button ? button.dataset.value : current()?.dataset.concept;
  if (['right', 'wrong', 'hidden'].includes(action) && !concept) return null;
  if (action === 'marks' && !root.querySelector('.seewhy-marks')) return null;
  if (action === 'marks') return { do: action, visible: ticked('visible'), hidden: ticked('hidden') };
  if (action === 'label') return { do: action, value: button ? button.dataset.value : 'wrong' };
  return { do: action, value: concept || '', wording: button ? wording(button) : undefined };
};

root.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-do]');
  if (button) { ask(() => request(button.dataset.do, button)); return; }
  const li = event.target.closest('li[data-concept]');
  if (li && !event.target.closest('details')) focusOn(li);
});
root.addEventListener('focusin', (event) => {
  const li = event.target.closest('li[data-concept]');
  if (li && !li.classList.contains('is-current')) {
    root.querySelectorAll('.is-current').forEach((one) => { one.classList.remove('is-current'); one.removeAttribute('aria-current'); });
    li.classList.add('is-current');
    li.setAttribute('aria-current', 'true');
  }
});
root.addEventListener('input', (event) => {
  if (event.target.matches('[data-filter]')) {
    const wanted = event.target.value.toLowerCase();
    root.querySelectorAll('tr[data-phrase]').forEach((row) => { row.hidden = !row.dataset.phrase.toLowerCase().includes(wanted); });
  }
});
root.addEventListener('submit', (event) => event.preventDefault());
name.addEventListener('change', () => ask(() => ({ do: 'show' })));

const keys = { 1: 'right', 2: 'wrong', 3: 'hidden', n: 'next', p: 'back', u: 'undo', l: 'label', s: 'marks' };
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.matches?.('input:not([type=checkbox]), textarea, select')) return;
  if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
    const step = event.key === 'ArrowDown' ? 'nextElementSibling' : 'previousElementSibling';
    if (current()?.[step]) { focusOn(current()[step]); event.preventDefault(); }
    return;
  }
  const action = keys[event.key.toLowerCase()];
  if (action) { event.preventDefault(); ask(() => request(action)); }
});
ask(() => ({ do: 'show' }));
