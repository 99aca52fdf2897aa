// says on which port it was asked
require('http').createServer((request, response) => response.end(process.env.PORT)).listen(process.env.PORT, '127.0.0.1')
