// A cluster: three workers that share a listening socket, whose connections the primary hands on to them, and clients in the primary.
const cluster = require('cluster');
const http = require('http');
const rounds = Math.round(120 * Number(process.env.SCALE || 1));
const path = './cluster.sock';

function ask(agent, number) {
    return new Promise((resolve, reject) => {
        http.get({ socketPath: path, path: `/${number}`, agent }, (answer) => {
            let text = '';
            answer.on('data', (piece) => { text += piece; });
            answer.on('end', () => resolve(text));
        }).on('error', reject);
    });
}

async function client(start) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    let sum = 0;
    for (let number = start; number < start + rounds; number++) {
        const [square, id] = (await ask(number % 50 === 0 ? false : agent, number)).split(' ').map(Number);
        if (square !== number * number || !(id in cluster.workers)) throw new Error(`${number}: ${square} of ${id}`);
        sum += square;
        await new Promise((resolve) => setTimeout(resolve, 3));
    }
    agent.destroy();
    return sum;
}

async function main() {
    const workers = [1, 2, 3].map(() => cluster.fork());
    await Promise.all(workers.map((worker) => new Promise((resolve) => { worker.once('listening', resolve); })));
    console.log('START');
    const sums = await Promise.all([1000, 2000, 3000].map(client));
    let told = 0;
    workers.forEach((worker) => worker.on('message', (count) => { told += count; worker.disconnect(); }));
    workers.forEach((worker) => worker.send('how many?'));
    const ends = await Promise.all(workers.map((worker) => new Promise((resolve) => { worker.once('exit', resolve); })));
    console.log(told === 3 * rounds ? 'RESULT' : 'FAIL', told, ...sums, ...ends);
}

if (cluster.isPrimary) {
    main().catch((error) => { console.log('FAIL', error.message); process.exit(1); });
} else {
    let count = 0;
    http.createServer((request, response) => {
        count++;
        const number = Number(request.url.slice(1));
        response.end(`${number * number} ${cluster.worker.id}`);
    }).listen(path);
    process.on('message', () => process.send(count));
}
