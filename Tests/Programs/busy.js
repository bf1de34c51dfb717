// Timers, worker threads, files, and functions hot enough for the JIT.
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const fs = require('fs');
const scale = Number(process.env.SCALE || 1);

function hot(state, count) {
    for (let i = 0; i < count; i++) state = (Math.imul(state, 48271) ^ (state >>> 7) ^ i) >>> 0;
    return state;
}

async function main() {
    const workers = [1, 2, 3].map((seed) => new Promise((resolve, reject) => {
        const worker = new Worker(__filename, { workerData: seed });
        worker.on('message', resolve);
        worker.on('error', reject);
    }));
    console.log('START');
    let ticks = 0;
    const timer = setInterval(() => { ticks++; }, 5);
    const file = fs.openSync('node.txt', 'a');
    let state = 9;
    for (let round = 0; round < 60 * scale; round++) {
        state = hot(state, 500000);
        fs.writeSync(file, `${round} ${state}\n`);
        await new Promise((resolve) => setTimeout(resolve, 5));
        await fs.promises.readFile('node.txt');
    }
    const results = await Promise.all(workers);
    clearInterval(timer);
    const lines = fs.readFileSync('node.txt', 'utf8').trim().split('\n');
    const ordered = lines.every((line, i) => line.startsWith(`${i} `));
    if (!ordered || ticks === 0) console.log('FAIL', ordered, ticks);
    else console.log('RESULT', state, lines.length, ...results);
}

if (isMainThread) main();
else parentPort.postMessage(hot(workerData, Math.round(100000000 * scale)));
